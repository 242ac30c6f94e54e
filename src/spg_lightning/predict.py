"""The command `predict`: boxes and masks on images, as rows, overlays, annotation files and a page.

Heavy libraries are imported inside the functions, so that `--help` and a wrong override are answered at once.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from spg_lightning.config.command_line import run_command
from spg_lightning.errors import UserError
from spg_lightning.utils.output_dir_lock import output_dir_lock
from spg_lightning.utils.validation import check_ranges

if TYPE_CHECKING:
    from spg_lightning.localizer import Localizer
    from spg_lightning.predicting.inputs import Inputs
    from spg_lightning.predicting.journal import Journal
    from spg_lightning.predicting.loading import LoadedImage
    from spg_lightning.predicting.result_files import Predictions

log = logging.getLogger(__name__)
FEW_IMAGES = 64  # are decoded by this process: others take longer to start
SETTINGS = (  # that the rows depend on: a run with others does not continue their file
    "checkpoint", "score_map", "views", "normalize", "refine", "threshold", "top_k", "regions", "min_area", "min_presence",
    "masks", "overlays", "max_side", "save_maps", "page", "page_maps", "precision", "decode",
)  # fmt: skip


def predict(cfg: DictConfig) -> Predictions:
    """Localize the objects in images as `conf/predict.yaml` describes.

    Each image's row is on disk as soon as it is finished, in `predictions.jsonl`; the same call continues a killed one. At the
    end `predictions.json` and the annotation files are written to `cfg.output_dir`. A corrupt image is named in a warning and
    skipped, unless `on_corrupt_image` says otherwise.

    Raises:
        UserError: the checkpoint cannot be used, there is no image, the network lacks the score map, the folder holds
            predictions of other settings, or an image is corrupt with `on_corrupt_image=error`.
    """
    from spg_lightning.predicting.journal import Journal, stamp_of
    from spg_lightning.predicting.result_files import Predictions, write_predictions

    check_ranges(cfg)
    if (cfg.images is None) == (cfg.split is None):
        raise UserError(
            "images=... is needed (a file, folder or glob), or split=test for the images that the run held out"
        )
    settings = _settings(cfg)
    folder = _unfinished(settings) if cfg.resume else Path(cfg.output_dir)
    with output_dir_lock(folder), _hints(folder):
        localizer = _localizer(cfg)
        inputs = _inputs(cfg, folder)
        paths = inputs.paths
        journal = Journal(folder, settings, cfg.overwrite)
        finished = {str(path) for path in paths if journal.is_done(str(path), stamp_of(path))}
        if finished:
            log.info("%d of %d images are finished already", len(finished), len(paths))
        # a batch that was begun is made again as a whole: the last digits depend on its size
        batches = [paths[i : i + cfg.batch_size] for i in range(0, len(paths), cfg.batch_size)]
        begun = [path for batch in batches if any(str(path) not in finished for path in batch) for path in batch]
        failed = _run(cfg, localizer, replace(inputs, paths=begun), finished, folder, journal) if begun else 0
        if failed == len(paths):
            unread = "the image could not" if failed == 1 else f"none of the {failed} images could"
            raise UserError(f"{inputs.source}: {unread} be read")
        predictions = Predictions(folder, [str(path) for path in paths], journal)
        count = write_predictions(predictions)
        _write_annotations(cfg, predictions, localizer)
        _write_page(cfg, predictions, localizer)
        _warn_of_collapse(predictions)
        log.info("%d of %d images, %d rows -> %s", len(paths) - failed, len(paths), count, folder)
    return predictions


def _inputs(cfg: DictConfig, folder: Path) -> Inputs:
    """Return the images of the command, or of a split of the checkpoint's run."""
    from spg_lightning.predicting.inputs import Inputs, find_images

    if cfg.split is None:
        return Inputs(f"images={cfg.images}", find_images(str(cfg.images), folder))
    from spg_lightning.predicting.split_inputs import split_inputs

    return split_inputs(str(cfg.checkpoint), str(cfg.split), cfg.root, cfg.trust)


def _settings(cfg: DictConfig) -> dict[str, Any]:
    """Return what the rows depend on, with the checkpoint's time of change, as plain data."""
    from spg_lightning.predicting.journal import stamp_of

    chosen = OmegaConf.create({key: cfg.get(key) for key in SETTINGS})
    plain = OmegaConf.to_container(chosen, resolve=False)  # a score map may refer to the checkpoint's stem
    assert isinstance(plain, dict)
    checkpoint = Path(str(cfg.checkpoint)).expanduser()
    return {
        **plain, "truncated_images": cfg.on_corrupt_image == "use",
        "checkpoint": str(checkpoint.absolute()), "checkpoint_stamp": stamp_of(checkpoint),
    }  # fmt: skip


def _unfinished(settings: dict[str, Any]) -> Path:
    """Return the newest folder beside the default output folder with these settings and without its final file."""
    import json

    from spg_lightning.predicting.journal import JOURNAL
    from spg_lightning.predicting.result_files import PREDICTIONS

    wanted = json.loads(json.dumps(settings))
    for journal in sorted(Path("runs/predict").glob(f"*/{JOURNAL}"), reverse=True):
        with journal.open(encoding="utf-8") as file:
            try:
                stored = json.loads(file.readline()).get("settings")
            except (ValueError, AttributeError):
                continue
        if stored == wanted and not (journal.parent / PREDICTIONS).exists():
            return journal.parent
    raise UserError(
        "resume=true: no unfinished prediction with these settings under runs/predict; leave resume=true out, or give the "
        "output_dir=... of the one to continue"
    )


@contextmanager
def _hints(folder: Path) -> Iterator[None]:
    """Say how to go on after a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        raise UserError(
            f"{error.filename or folder}: {error.strerror}; make room, then give the same command with output_dir={folder}"
        ) from error


def _localizer(cfg: DictConfig) -> Localizer:
    """Return the localizer of the checkpoint or exported model, with what the command chooses otherwise."""
    from spg_lightning.config.build import build_localizer
    from spg_lightning.localizer import Localizer
    from spg_lightning.utils.device import device_of

    if _is_exported(cfg):
        if any(cfg.get(key) for key in ("score_map", "views", "normalize", "refine")):
            raise UserError(f"checkpoint={cfg.checkpoint} is an exported model, which has its score map built in; leave "
                            "score_map, views, normalize and refine out, or export it again")  # fmt: skip
        localizer = Localizer.load(cfg.checkpoint, threshold=cfg.threshold)
    else:
        localizer = build_localizer(cfg)
        localizer.network.to(device_of(str(cfg.accelerator)))
        if cfg.page:  # also where all images are finished: the page offers them
            from spg_lightning.predicting.page_maps import page_score_maps

            localizer.score_maps |= page_score_maps(localizer, cfg.page_maps)
    if cfg.min_presence is not None:
        localizer.confidence = replace(localizer.confidence, present_above=float(cfg.min_presence))
    return localizer


def _is_exported(cfg: DictConfig) -> bool:
    from spg_lightning.localizer import EXPORTED

    return Path(str(cfg.checkpoint)).suffix.lower() in EXPORTED


def _run(
    cfg: DictConfig, localizer: Localizer, inputs: Inputs, finished: Collection[str], folder: Path, journal: Journal
) -> int:
    """Predict the images that are not finished; return how many could not be read."""
    from spg_lightning.data.truncated_images import truncation_warning
    from spg_lightning.predicting.loading import ImageFrames, load_batches
    from spg_lightning.predicting.pipeline import Pipeline, Results
    from spg_lightning.predicting.progress import tracked
    from spg_lightning.utils.device import autocast

    results = Results(
        min(int(cfg.top_k), len(localizer.class_names)), cfg.regions, cfg.min_area, cfg.masks, cfg.overlays,
        cfg.save_maps,
    )  # fmt: skip
    photo_side = cfg.max_side if cfg.overlays != "none" else 0
    if cfg.page:
        from spg_lightning.predicting.page import PHOTO_SIDE
        from spg_lightning.predicting.page_maps import PhotoWriter

        photo_side = None if photo_side is None else max(photo_side, PHOTO_SIDE)
    assert localizer.crop is not None
    paths = inputs.paths
    frames = ImageFrames(
        paths, localizer.crop, photo_side, cfg.decode, inputs.apply_exif_orientation, str(cfg.on_corrupt_image)
    )
    num_workers = _num_workers(cfg, len(paths))
    failed, truncated = 0, list[Path]()
    with ExitStack() as stack:
        batches = _noting_truncated(load_batches(frames, cfg.batch_size, num_workers), paths, truncated)
        stack.enter_context(journal)
        if _is_exported(cfg):
            _refuse_precision(cfg)
        else:
            stack.enter_context(autocast(localizer.device, str(cfg.precision)))
        extra = [PhotoWriter(folder, localizer.name, inputs.true_boxes)] if cfg.page else []
        pipeline = Pipeline(localizer, folder, results, _cores(), extra)
        total = sum(str(path) not in finished for path in paths)
        for row in tracked(pipeline.run(batches, paths, finished, journal), total):
            if row.error:
                if cfg.on_corrupt_image == "error":
                    raise UserError(f"{row.error}; restore it, or set on_corrupt_image=skip")
                failed += 1
                log.warning("%s; skipped", row.error)
    if truncated:
        log.warning("%s", truncation_warning(truncated, "on_corrupt_image"))
    return failed


def _noting_truncated(
    batches: Iterator[list[LoadedImage]], paths: Sequence[Path], truncated: list[Path]
) -> Iterator[list[LoadedImage]]:
    """Yield the batches, and add the paths of images that are cut off at their end to `truncated`."""
    for batch in batches:
        truncated += [paths[image.index] for image in batch if image.is_truncated]
        yield batch


def _refuse_precision(cfg: DictConfig) -> None:
    if cfg.precision != "float32":
        raise UserError(f"precision={cfg.precision}: an exported model has its own; leave it out")


def _num_workers(cfg: DictConfig, num_images: int) -> int:
    if cfg.num_workers != "auto":
        return int(cfg.num_workers)
    return 0 if num_images <= FEW_IMAGES else max(1, min(_cores() // 2, 16))


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0))


def _write_annotations(cfg: DictConfig, predictions: Predictions, localizer: Localizer) -> None:
    from spg_lightning.utils.instantiate import instantiate_node

    for node in filter(None, (cfg.get("writer") or {}).values()):
        instantiate_node(node).write(predictions.folder, predictions.rows, localizer.class_names)


def _write_page(cfg: DictConfig, predictions: Predictions, localizer: Localizer) -> None:
    if not cfg.page:
        return
    from spg_lightning.predicting.page import PageSettings, write_page

    title = str(cfg.images or f"{cfg.split} images of {cfg.checkpoint}")
    settings = PageSettings(
        title, localizer.class_names, localizer.threshold, localizer.name, list(localizer.score_maps), cfg.regions, cfg.min_area
    )  # fmt: skip
    log.info("page: %s", write_page(predictions.folder, predictions.named_rows(), settings))


def _warn_of_collapse(predictions: Predictions) -> None:
    from spg_lightning.localization.collapse import box_fraction, full_boxes, one_class

    fractions, classes = [], []
    for row in predictions.rows:
        first = row.objects[0]
        fractions.append(box_fraction(first.box, (first.width, first.height)))
        classes.append(first.class_name)
    for text in [*full_boxes(fractions), *one_class(classes)]:
        log.warning("%s", text)


def main() -> None:
    """Run the command."""
    run_command("predict")


if __name__ == "__main__":
    main()
