"""The command `prepare`: extract a data set, verify every file, and write the index that makes start-up instant.

Heavy libraries are imported inside the functions, so that `--help` and a wrong override are answered at once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from spg_lightning.config.command_line import run_command
from spg_lightning.errors import UserError
from spg_lightning.utils.plural import plural
from spg_lightning.utils.validation import check_ranges

if TYPE_CHECKING:
    from spg_lightning.data.records import Records, Splits
    from spg_lightning.data.validation.issues import IssueCollector

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """The result of `prepare`.

    Attributes:
        splits: the records.
        findings: problems of the files, one line each with file and row; with `quarantine` they are left out of `splits`.
        notes: differences from the published counts.
        quarantine: images that are left out, relative to the data set's folder.
        index: its folder; None for a reader without one.
        shards: their folder; None without `shards`.
    """

    splits: Splits
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    quarantine: tuple[str, ...]
    index: Path | None
    shards: Path | None = None


def prepare(cfg: DictConfig) -> Prepared:
    """Prepare the data set that `cfg` (`conf/prepare.yaml`) names. Nothing is downloaded.

    Raises:
        UserError: an archive cannot be extracted, or files have problems and `quarantine` is not set.
    """
    from spg_lightning.data.index.cached_reader import fingerprint_of, write_index
    from spg_lightning.data.validation.issues import IssueCollector, read_quarantine
    from spg_lightning.utils.instantiate import check_arguments, instantiate_node

    check_ranges(cfg)
    _extract(cfg)
    reader = instantiate_node(cfg.dataset.reader)
    assert isinstance(reader, partial)
    check_arguments(reader, "dataset.reader")
    fingerprint = fingerprint_of(reader.func, reader.keywords)
    if fingerprint is None:  # a reader without an index: toy birds, or one of the user's own
        return _prepare_without_index(cfg, reader())
    root = _root(cfg)
    issues = IssueCollector.of(root, collect=True)
    splits = reader(issues=issues)
    notes = _verify(splits, cfg, issues)
    for line in [*(f"note: {note}" for note in notes), *issues.found]:
        log.warning("%s", line)
    if issues.found:
        _write_quarantine(cfg, root, issues)
        fingerprint = fingerprint_of(reader.func, reader.keywords)
        splits = reader(issues=IssueCollector.of(root))
    assert fingerprint is not None
    index = write_index(reader.func, reader.keywords, splits, fingerprint)
    quarantine = read_quarantine(root)
    log.info(
        "%s: %s of %d classes%s; index: %s", cfg.dataset.name, _counts(splits), len(splits.train.class_names),
        f", {plural(len(quarantine), 'image')} in quarantine" if quarantine else "", index,
    )  # fmt: skip
    return Prepared(splits, tuple(issues.found), tuple(notes), quarantine, index, _shards(splits.train, cfg))


def _prepare_without_index(cfg: DictConfig, splits: Splits) -> Prepared:
    from spg_lightning.data.validation.issues import IssueCollector

    issues = IssueCollector(splits.train.root, (), collect=True)
    notes = _verify(splits, cfg, issues)
    for line in [*(f"note: {note}" for note in notes), *issues.found]:
        log.warning("%s", line)
    if issues.found:
        raise UserError(
            f"dataset={cfg.dataset.name}: {plural(len(issues.found), 'finding')}, listed above; restore the files"
        )
    log.info("%s: %s of %d classes", cfg.dataset.name, _counts(splits), len(splits.train.class_names))
    return Prepared(splits, (), tuple(notes), (), None, _shards(splits.train, cfg))


def _extract(cfg: DictConfig) -> None:
    from spg_lightning.data.archives import extract

    names = cfg.archive if OmegaConf.is_list(cfg.archive) else [] if cfg.archive is None else [cfg.archive]
    for name in names:
        if cfg.dataset.root is None:
            raise UserError(f"archive={name}: give the folder to extract to, dataset.root=<folder>")
        for path in extract(str(name), Path(str(cfg.dataset.root)).expanduser()):
            log.info("%s -> %s", name, path)


def _root(cfg: DictConfig) -> Path:
    root = Path(str(cfg.dataset.root)).expanduser()
    if not root.is_dir():
        about = cfg.dataset.about
        hint = "" if about.source == "yours" else f" Get it from {about.source}. {about.size}; {about.use}"
        raise UserError(f"dataset.root={root} is not a folder.{hint}")
    return root


def _verify(splits: Splits, cfg: DictConfig, issues: IssueCollector) -> list[str]:
    from spg_lightning.data.validation.verify import verify

    published = None if cfg.dataset.published is None else {str(k): int(v) for k, v in cfg.dataset.published.items()}
    count = sum(len(records) for records in (splits.train, splits.val, splits.test) if records is not None)
    with _bar("images", count) as advance:
        return verify(splits, published, issues, _threads(cfg), advance)


def _write_quarantine(cfg: DictConfig, root: Path, issues: IssueCollector) -> None:
    """Add the images with problems to the quarantine.

    Raises:
        UserError: the user did not ask for it, or leaving out images does not solve a problem.
    """
    from spg_lightning.data.index.cache import writable
    from spg_lightning.data.validation.issues import QUARANTINE, read_quarantine
    from spg_lightning.utils.atomic import atomically

    unsolved = [text for text, image in issues.found.items() if not image]
    if not cfg.quarantine or unsolved:
        advice = "restore the files, or leave their images out with quarantine=true"
        if cfg.quarantine:
            advice = f"leaving images out does not solve this: {unsolved[0]}"
        raise UserError(
            f"dataset.root={root}: {plural(len(issues.found), 'finding')}, listed above; no index is written; {advice}"
        )
    rows = dict.fromkeys(read_quarantine(root), "in quarantine before")
    rows |= {image: " ".join(text.split()) for text, image in issues.found.items()}
    path = writable(root) / QUARANTINE
    try:
        with atomically(path, "w", encoding="utf-8") as file:
            file.writelines(f"{image}\t{reason}\n" for image, reason in sorted(rows.items()))
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}); nothing was changed") from error
    log.info("left out from now on, %s: %s", plural(len(rows), "image"), path)


def _shards(train: Records, cfg: DictConfig) -> Path | None:
    """Write the shards if `cfg.shards` is set and they do not exist."""
    from spg_lightning.data.index.cache import writable
    from spg_lightning.data.shards.shards import MANIFEST, Shards, write_shards

    if not cfg.shards:
        return None
    resize, place = int(cfg.dataset.resize), cfg.dataset.shards
    if place is not None and "://" in str(place):
        raise UserError(f"dataset.shards={place}: write to a folder, then copy it there with your storage's own tool")
    folder = writable(train.root) / f"shards-{resize}" if place is None else Path(str(place)).expanduser()
    if (folder / MANIFEST).is_file():
        Shards(str(folder), train, resize)  # refuses shards of other images
        log.info("dataset.shards=%s exists and is complete", folder)
        return folder
    with _bar("shards", len(train)) as advance:
        files, size = write_shards(train, resize, folder, _threads(cfg), advance)
    log.info(
        "%d training images of %d x %d in %d files, %.2f GB: train with dataset.shards=%s",
        len(train), resize, resize, files, size / 1e9, folder,
    )  # fmt: skip
    return folder


def _threads(cfg: DictConfig) -> int:
    return int(cfg.num_workers) or os.cpu_count() or 1


@contextmanager
def _bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.advance(task, done)


def _counts(splits: Splits) -> str:
    counts = {"train": splits.train, "val": splits.val, "test": splits.test}
    return ", ".join(f"{len(records)} {split}" for split, records in counts.items() if records is not None) + " images"


def main() -> None:
    """Run the command."""
    run_command("prepare")


if __name__ == "__main__":
    main()
