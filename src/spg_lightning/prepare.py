"""The verb `prepare`: extract a data set, look at every file of it, write the index that makes start-up instant."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from spg_lightning.config.command_line import run_command
from spg_lightning.data.archives import extract
from spg_lightning.data.index import cache
from spg_lightning.data.index.cache import writable
from spg_lightning.data.index.cached_reader import fingerprint_of, write_index
from spg_lightning.data.records import Records, Splits
from spg_lightning.data.shards.shards import MANIFEST, Shards, write_shards
from spg_lightning.data.validation.issues import QUARANTINE, IssueCollector, read_quarantine
from spg_lightning.data.validation.verify import verify
from spg_lightning.errors import UserError
from spg_lightning.utils.instantiate import instantiate_node

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """What `prepare` found.

    Attributes:
        splits: the records.
        findings: what is wrong, one line each with file and row; where `quarantine` was asked for, it is left out by now.
        notes: what differs from the published numbers.
        quarantine: photos that are left out, relative to the data set's folder.
        index: the file; None for data that are drawn by code.
        shards: the folder; None where none were asked for.
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
        UserError: an archive that cannot be extracted; something wrong with the files that was not put into quarantine.
    """
    for archive in _archives(cfg):
        if cfg.dataset.root is None:
            raise UserError(f"archive={archive}: say where the data set is to be: dataset.root=<folder>")
        for path in extract(archive, Path(str(cfg.dataset.root)).expanduser()):
            log.info("%s -> %s", archive, path)
    reader = instantiate_node(cfg.dataset.reader)
    assert isinstance(reader, partial)
    fingerprint = fingerprint_of(reader.func, reader.keywords)
    if fingerprint is None:  # drawn by code
        splits = reader()
        return Prepared(splits, (), (), (), None, _shards(splits.train, cfg))
    root = Path(str(cfg.dataset.root)).expanduser()
    if not root.is_dir():
        about = cfg.dataset.about
        where = "" if about.source == "yours" else f" Where to get it: {about.source}. {about.size}; {about.use}"
        raise UserError(f"dataset.root={root} is no folder.{where}")
    issues = IssueCollector.of(root, collect=True)
    splits = reader(issues=issues)
    notes = _look(splits, cfg, issues)
    for note in notes:
        log.warning("note: %s", note)
    for finding in issues.found:
        log.warning("%s", finding)
    if issues.found:
        splits, fingerprint = _leave_out(cfg, reader, root, issues)
    index = write_index(reader.func, reader.keywords, splits, fingerprint)
    quarantine = read_quarantine(root)
    log.info(
        "%s: %s of %d classes%s; index: %s", cfg.dataset.name, _counts(splits), len(splits.train.class_names),
        f", {len(quarantine)} photos in quarantine" if quarantine else "", index,
    )  # fmt: skip
    return Prepared(splits, tuple(issues.found), tuple(notes), quarantine, index, _shards(splits.train, cfg))


def _archives(cfg: DictConfig) -> list[str]:
    if cfg.archive is None:
        return []
    return [str(name) for name in cfg.archive] if OmegaConf.is_list(cfg.archive) else [str(cfg.archive)]


def _look(splits: Splits, cfg: DictConfig, issues: IssueCollector) -> list[str]:
    published = None if cfg.dataset.published is None else {str(k): int(v) for k, v in cfg.dataset.published.items()}
    count = sum(len(records) for records in (splits.train, splits.val, splits.test) if records is not None)
    with _bar("photos", count) as advance:
        return verify(splits, published, issues, _threads(cfg), advance)


def _shards(train: Records, cfg: DictConfig) -> Path | None:
    """Write the shards, if they are asked for and not there."""
    if not cfg.shards:
        return None
    resize, where = int(cfg.dataset.resize), cfg.dataset.shards
    if where is not None and "://" in str(where):
        raise UserError(
            f"dataset.shards={where}: write them to a folder, and copy that there with your storage's own tool"
        )
    folder = writable(train.root) / f"shards-{resize}" if where is None else Path(str(where)).expanduser()
    if (folder / MANIFEST).is_file():
        Shards(str(folder), train, resize)  # refuses those of other photos
        log.info("dataset.shards=%s is there already, and whole", folder)
        return folder
    with _bar("shards", len(train)) as advance:
        files, size = write_shards(train, resize, folder, _threads(cfg), advance)
    log.info(
        "%d training photos of %d x %d in %d files, %.2f GB: train with dataset.shards=%s",
        len(train), resize, resize, files, size / 1e9, folder,
    )  # fmt: skip
    return folder


def _threads(cfg: DictConfig) -> int:
    return int(cfg.num_workers) or os.cpu_count() or 1


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


def _leave_out(cfg: DictConfig, reader: "partial[Splits]", root: Path, issues: IssueCollector) -> tuple[Splits, str]:
    """Put what is broken into quarantine, and read again without it."""
    stuck = [text for text, photo in issues.found.items() if not photo]
    if not cfg.quarantine or stuck:
        advice = "restore the files, or leave their photos out with quarantine=true"
        if cfg.quarantine:
            advice = f"leaving photos out does not mend this: {stuck[0]}"
        raise UserError(
            f"dataset.root={root}: {len(issues.found)} findings, listed above, no index is written; {advice}"
        )
    rows = dict.fromkeys(read_quarantine(root), "in quarantine before")
    rows |= {photo: " ".join(text.split()) for text, photo in issues.found.items()}
    text = "".join(f"{photo}\t{why}\n" for photo, why in sorted(rows.items()))
    path = cache.writable(root) / QUARANTINE
    write_text(path, text)
    log.info("%d photos are left out from now on: %s", len(rows), path)
    fingerprint = fingerprint_of(reader.func, reader.keywords)
    assert fingerprint is not None
    return reader(issues=IssueCollector.of(root)), fingerprint


def _counts(splits: Splits) -> str:
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    return ", ".join(f"{len(records)} {part}" for part, records in parts.items() if records is not None) + " photos"


def main() -> None:
    """Run the command."""
    run_command("prepare")


if __name__ == "__main__":
    main()
