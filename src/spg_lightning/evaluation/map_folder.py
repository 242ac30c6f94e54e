"""Evaluate any method's score maps: a folder of .npy files against boxes of a folder, or ground truth in the benchmark's format."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from omegaconf import DictConfig
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from spg_lightning.data.decode import read_image
from spg_lightning.data.map_files import find_maps, read_map
from spg_lightning.data.masks import read_ternary_mask
from spg_lightning.data.predictions import read_predictions
from spg_lightning.data.readers.benchmark_metadata import read_benchmark
from spg_lightning.data.readers.boxed_images import read_boxed_images
from spg_lightning.data.records import Records
from spg_lightning.errors import UserError
from spg_lightning.evaluation.map_checks import MapFacts, warn_of_maps
from spg_lightning.evaluation.results import Evaluation, ImageResult, compute_evaluation, image_results
from spg_lightning.localization.metrics import LocalizationCounts, LocalizationMetric
from spg_lightning.localization.predicted_classes import PredictedClasses
from spg_lightning.localization.threshold_scan import ThresholdScan, check_map, scale_boxes
from spg_lightning.reporting.run_page import Picture, write_evaluation
from spg_lightning.utils.provenance import provenance

log = logging.getLogger(__name__)
CHUNK = 32  # images a task
OWN = "own"  # the map_size that keeps each map's own


@dataclass(frozen=True)
class MapSet:
    """One split: images with ground truth, each one's map file, and the classes predicted for it, where known."""

    records: Records
    files: list[Path]
    predictions: dict[str, tuple[int, ...]] | None


@dataclass(frozen=True)
class Counted:
    """The result of a set of maps: counts, scans (with boxes), each map as stored, and the width and height it is compared in."""

    curves: LocalizationCounts
    scans: dict[int, ThresholdScan]
    stored: list[MapFacts]
    frames: dict[int, tuple[int, int]]


def evaluate_maps(cfg: DictConfig) -> Evaluation:
    """Evaluate `cfg.maps` against `cfg.metadata` or `cfg.boxes` as `conf/evaluate.yaml` describes; everything goes beside `cfg.output`.

    Raises:
        UserError: maps, boxes, metadata, masks or predictions that are missing or wrong; the text names the file.
    """
    started = datetime.now(UTC)
    output = _output(cfg)
    images = None if cfg.images is None else Path(str(cfg.images)).expanduser()
    if images is not None and not images.is_dir():
        raise UserError(f"images={cfg.images} is not a folder; give the one that the image ids are relative to")
    test_set, val_set = _map_set(cfg, "", images), None
    if cfg.val.maps is not None:
        val_set = _map_set(cfg.val, "val.", images)
        if len(test_set.records.boxes) and not len(val_set.records.boxes):
            raise UserError(f"val.metadata={cfg.val.metadata} has no boxes to choose the threshold on; leave val. out")
    elif lone := [key for key, value in cfg.val.items() if value is not None]:
        raise UserError(f"val.{lone[0]}= is given without val.maps=; give the maps of val, too")
    side = None if cfg.map_size == OWN else cfg.map_size
    metric = partial(LocalizationMetric, cfg.num_thresholds, keep_scans=True, choose_by=cfg.choose_by or "gt_known")
    val = None if val_set is None else count_maps(val_set, metric, cfg.num_workers, "val", side)
    test = count_maps(test_set, metric, cfg.num_workers, "test" if val else "maps", side)
    for key, maps, counted in ((f"maps={cfg.maps}", test_set, test), (f"val.maps={cfg.val.maps}", val_set, val)):
        if maps is not None and counted is not None:
            sizes = [_size(maps.records, i) for i in range(len(maps.files))]
            warn_of_maps(counted.stored, maps.files, sizes, [*counted.frames.values()], key)

    if test_set.records.masks and not test.curves.pixel_hist[1].any():
        raise UserError(
            f"masks={cfg.masks}: no mask has an object pixel that is not ignored; the object has to be bright"
        )
    frame = test.frames[0]
    truth = {
        split: [scale_boxes(s.records.boxes_of(i), _size(s.records, i), frame) for i in range(len(s.records))]
        for split, s in (("test", test_set), ("val", val_set))
        if s is not None and len(s.records.boxes)
    }
    found = compute_evaluation({"": test.curves}, None if val is None else {"": val.curves}, truth, frame)
    records = test_set.records
    evaluation = replace(
        found,
        images=_image_results("test", test_set, test, found.threshold),
        more_images=_image_results("val", val_set, val, found.threshold)
        if val_set is not None and val is not None and cfg.image_rows == "all"
        else (),
        frame=frame if len({*test.frames.values()}) == 1 else None,
    )

    def picture(index: int) -> Picture:
        try:
            photo = None if images is None else _photo(images / records.images[index], records)
        except UserError as error:
            raise UserError(
                f"{error}; restore it, or leave images= out: the report shows maps without photos"
            ) from error
        return Picture(read_map(test_set.files[index]), photo)

    facts = provenance(None, started, maps=str(cfg.maps), metadata=str(cfg.metadata), map_size=cfg.map_size)
    write_evaluation(output, evaluation, facts, str(cfg.maps), records, picture, cfg.report_images)
    log.info("results: %s", output)
    return evaluation


def _image_results(split: str, maps: MapSet, counted: Counted, threshold: float) -> tuple[ImageResult, ...]:
    """Return the results by image of a set."""
    names, predicted = maps.records.class_names, {}
    if maps.predictions is not None:
        first = (maps.predictions[image][0] for image in maps.records.images)
        predicted = {i: names[k] if k < len(names) else str(k) for i, k in enumerate(first)}
    return image_results(split, "", maps.records, counted.scans, predicted, {}, counted.frames, threshold)


def count_maps(
    maps: MapSet, new_metric: Callable[[], LocalizationMetric], workers: int, title: str, side: int | None
) -> Counted:
    """Scan all maps of a set, in several threads (the scan releases Python's lock).

    Args:
        maps: the set.
        new_metric: returns an empty metric that keeps scans.
        workers: threads; 0 takes one a core.
        title: of the progress bar.
        side: of the square that maps are resized to, in pixels; None: each map's own size.

    Raises:
        UserError: a map or mask that is none; the first in the order of the images.
    """
    count = len(maps.files)
    chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    total: LocalizationMetric | None = None
    scans: dict[int, ThresholdScan] = {}
    stored: list[MapFacts] = []
    all_frames: dict[int, tuple[int, int]] = {}
    threads = workers or os.cpu_count() or 1
    bar = Progress(TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), transient=True)
    pool = ThreadPoolExecutor(threads)
    try:
        with bar:
            task = bar.add_task(title, total=count)
            for chunk, (metric, facts, frames) in zip(
                chunks, pool.map(lambda c: _count_chunk(maps, new_metric(), side, c), chunks), strict=True
            ):
                # sums of integers: the same in any order and any chunks
                if total is None:
                    total = metric
                else:
                    total.merge_state(metric)
                stored += facts
                all_frames |= dict(zip(chunk, frames, strict=True))
                if metric.scans:
                    scans |= dict(zip(chunk, metric.scans, strict=True))
                bar.advance(task, len(chunk))
    finally:
        pool.shutdown(cancel_futures=True)
    assert total is not None  # a set has images
    return Counted(total.compute(), scans, stored, all_frames)


def _count_chunk(
    maps: MapSet, metric: LocalizationMetric, side: int | None, chunk: range
) -> tuple[LocalizationMetric, list[MapFacts], list[tuple[int, int]]]:
    stored, frames = [], []
    records = maps.records
    for i in chunk:
        path = maps.files[i]
        score_map = read_map(path)
        check_map(score_map, str(path))
        stored.append(MapFacts.of(score_map))
        frame = stored[-1].size if side is None else (side, side)
        frames.append(frame)
        has_boxes = len(records.boxes) > 0
        boxes = [scale_boxes(records.boxes_of(i), _size(records, i), frame)] if has_boxes else None
        masks = [torch.from_numpy(read_ternary_mask(records, i, frame))] if records.masks else None
        metric.update(
            [_resize(score_map, frame)], boxes, masks=masks, names=[str(path)], **_predicted_classes(maps, i)._asdict()
        )
    return metric, stored, frames


def _resize(score_map: Float[np.ndarray, "y x"], frame: tuple[int, int]) -> Float[np.ndarray, "Y X"]:
    """Return a map in the frame: bilinear, and the mean of the area where it shrinks."""
    if score_map.shape == frame[::-1]:
        return score_map
    shrinks = score_map.shape[1] > frame[0] and score_map.shape[0] > frame[1]
    resized = cv2.resize(score_map, frame, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    # rounding must not leave the map's range: a constant map stays constant, and 1 stays the highest value
    return np.clip(resized, score_map.min(), score_map.max())


def _predicted_classes(maps: MapSet, index: int) -> PredictedClasses:
    if maps.predictions is None:
        return PredictedClasses(None, None, None)
    ranked = torch.tensor([maps.predictions[maps.records.images[index]]])
    label = torch.from_numpy(maps.records.labels[index : index + 1])
    return PredictedClasses.of(ranked, label, len(maps.records.class_names))


def _photo(path: Path, records: Records) -> UInt8[np.ndarray, "Y X 3"]:
    """Return an image for the report; of a file that is cut off at its end what there is."""
    return read_image(path, records.apply_exif_orientation, on_truncated=lambda: None)


def _map_set(paths: DictConfig, prefix: str, images: Path | None) -> MapSet:
    """Return the set that the keys maps, boxes, metadata, masks and predictions name.

    Args:
        paths: with these keys.
        prefix: what users write before them.
        images: folder that the images of `boxes` are in.
    """
    maps, metadata, masks, predictions = (
        None if paths[key] is None else str(paths[key]) for key in ("maps", "metadata", "masks", "predictions")
    )
    assert maps is not None
    if (metadata is None) == (paths.boxes is None):
        raise UserError(
            f"{prefix}maps={maps}: say where the ground truth is, with one of {prefix}metadata=<folder with image_ids.txt, ...> "
            f"and {prefix}boxes=<file> images=<folder>"
        )
    if paths.boxes is not None and (images is None or masks is not None):
        wrong = "leave masks out, which go with metadata=" if masks is not None else "give their folder, images="
        raise UserError(f"{prefix}boxes={paths.boxes} are boxes of your own images: {wrong}")
    try:
        if metadata is not None:
            records = read_benchmark(metadata, masks)
        else:
            assert images is not None
            boxes = paths.boxes if isinstance(paths.boxes, str) else [str(name) for name in paths.boxes]
            records = read_boxed_images(images, boxes)
        files = find_maps(maps, records.images)
        return MapSet(records, files, None if predictions is None else read_predictions(predictions, records.images))
    except UserError as error:
        # the readers know a key by its bare name
        raise UserError(
            f"{prefix}{error}" if str(error).startswith(("maps=", "boxes=", "metadata=", "masks=")) else str(error)
        ) from None


def _output(cfg: DictConfig) -> Path:
    output = Path(str(cfg.output)) if cfg.output is not None else Path(cfg.output_dir) / "metrics.json"
    if output.suffix != ".json" or output.is_dir():
        raise UserError(f"output={cfg.output}: name the .json file of the metrics; tables and report go beside it")
    if (file := next((p for p in output.parents if p.exists() and not p.is_dir()), None)) is not None:
        raise UserError(f"output={cfg.output}: {file} is a file, not a folder")
    return output


def _size(records: Records, index: int) -> tuple[int, int]:
    width, height = records.sizes[index]
    return int(width), int(height)
