"""From images to rows and files: other processes decode, the network runs in batches, threads draw and encode.

Memory is bounded: a few batches are in flight, and finished rows are on disk.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool

from spg_lightning.errors import UserError
from spg_lightning.localization.polygons import polygons_of_mask
from spg_lightning.localization.regions import WHICH, Region
from spg_lightning.localizer import NOWHERE, Localization, Localizer
from spg_lightning.predicting.drawing import OVERLAYS, draw_overlay
from spg_lightning.predicting.journal import Journal, stamp_of
from spg_lightning.predicting.loading import LoadedImage
from spg_lightning.predicting.rows import ImageRow, Prediction, encode_mask
from spg_lightning.utils.atomic import replacing
from spg_lightning.utils.file_names import result_name

MASKS = ("none", "png", "rle", "polygons")
BATCHES_IN_FLIGHT = 3  # that wait for their files, beside the loader's own
ENCODING: dict[str, list[int]] = {".png": [], ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 88]}  # PNG: OpenCV's default is fast


@dataclass(frozen=True)
class Results:
    """What is written of each image.

    Attributes:
        top_k: classes.
        regions: "largest" or "all", of the most probable class; the others have their largest.
        min_area: share of the image; smaller regions are left out, except the largest.
        masks: "none", "png", "rle" or "polygons".
        overlays: "png", "jpg" or "none".
        save_maps: write the score maps as .npy.

    Raises:
        UserError: an unknown word.
    """

    top_k: int
    regions: str
    min_area: float
    masks: str
    overlays: str
    save_maps: bool

    def __post_init__(self) -> None:
        for key, choices in (("masks", MASKS), ("overlays", OVERLAYS), ("regions", WHICH)):
            if getattr(self, key) not in choices:
                raise UserError(f"{key}={getattr(self, key)}: choose {', '.join(choices[:-1])} or {choices[-1]}")


Extra = Callable[[str, ImageRow, LoadedImage, Sequence[Localization]], None]  # name, row, image, its localizations


class Pipeline:
    """Localizes in images and writes their files.

    Args:
        localizer: on its device.
        folder: of the results.
        results: what to write.
        num_threads: that draw and encode.
        extra: called for each image in one of the threads, before its row is written: a further output, such as a page.
    """

    def __init__(
        self, localizer: Localizer, folder: Path, results: Results, num_threads: int, extra: Sequence[Extra] = ()
    ) -> None:
        self.localizer, self.folder, self.results = localizer, folder, results
        self.num_threads, self.extra = num_threads, tuple(extra)

    def run(
        self, batches: Iterator[list[LoadedImage]], paths: Sequence[Path], finished: Collection[str], journal: Journal
    ) -> Iterator[ImageRow]:
        """Yield the row of each image, in order, after its files and its line of the journal are written.

        Args:
            batches: of loaded images.
            paths: of the images that their indices refer to.
            finished: images of these that have their row; they only complete a batch.
            journal: open.
        """
        waiting: deque[list[tuple[str, Future[ImageRow] | ImageRow]]] = deque()
        taken = {name.lower() for name in journal.names.values()}
        with ThreadPoolExecutor(self.num_threads, thread_name_prefix="files") as pool:
            try:
                for batch in batches:
                    waiting.append(self._start(batch, paths, finished, journal.names, taken, pool))
                    while len(waiting) > BATCHES_IN_FLIGHT:
                        yield from self._finish(waiting.popleft(), journal)
                while waiting:
                    yield from self._finish(waiting.popleft(), journal)
            finally:
                for _, future in (entry for batch_ in waiting for entry in batch_):
                    if isinstance(future, Future):
                        future.cancel()

    def _start(
        self,
        batch: Sequence[LoadedImage],
        paths: Sequence[Path],
        finished: Collection[str],
        names: dict[str, str],
        taken: set[str],
        pool: ThreadPoolExecutor,
    ) -> list[tuple[str, Future[ImageRow] | ImageRow]]:
        """Run the network on a batch and let the threads write its files."""
        readable = [image for image in batch if not image.error]
        frames = [image.frame for image in readable if image.frame is not None]
        found = (
            self.localizer.localize_frames(np.stack(frames), [image.size for image in readable], self.results.top_k)
            if frames
            else []
        )
        localizations = {image.index: of_image for image, of_image in zip(readable, found, strict=True)}
        started: list[tuple[str, Future[ImageRow] | ImageRow]] = []
        for image in batch:
            path = paths[image.index]
            if str(path) in finished:
                continue
            if image.error:
                started.append(("", ImageRow(str(path), error=image.error)))
                continue
            # one that changed since keeps its name
            name = names.get(str(path)) or result_name(path, taken)
            taken.add(name.lower())
            started.append((name, pool.submit(self._write, name, str(path), image, localizations[image.index])))
        return started

    def _finish(
        self, started: Sequence[tuple[str, Future[ImageRow] | ImageRow]], journal: Journal
    ) -> Iterator[ImageRow]:
        """Wait for a batch's files, then write its lines."""
        for name, future in started:
            row = future.result() if isinstance(future, Future) else future
            journal.append(row, name, stamp_of(Path(row.image)))
            yield row

    def _write(self, name: str, image: str, loaded: LoadedImage, found: Sequence[Localization]) -> ImageRow:
        """Write the files of one image and return its row."""
        results, first = self.results, found[0]
        is_found = first.is_present
        map_files = self._save_maps(name, found) if results.save_maps else [""] * len(found)
        regions = [self._regions(of_class, k) for k, of_class in enumerate(found)]
        shown = self._save_overlay(name, loaded, found, regions, is_found)
        objects = []
        for k, (of_class, of_regions, map_file) in enumerate(zip(found, regions, map_files, strict=True)):
            masks = [of_class.mask_of(region) for region in of_regions] if results.masks != "none" else []
            mask_file = self._save_mask(name, of_class.size, masks) if results.masks == "png" and not k else ""
            for number, region in enumerate(of_regions or [None], start=1):
                prediction = Prediction(
                    image, *of_class.size, k + 1, of_class.class_name, of_class.class_index, of_class.score, number,
                    NOWHERE if region is None else region.box, is_found,
                    None if region is None else of_class.box_confidence(region), first.presence,
                    mask_file=mask_file, overlay=shown, map_file=map_file,
                )  # fmt: skip
                objects.append(self._with_mask(prediction, masks[number - 1]) if masks else prediction)
        row = ImageRow(image, tuple(objects))
        for write in self.extra:
            write(name, row, loaded, found)
        return row

    def _regions(self, found: Localization, k: int) -> list[Region]:
        """Return the regions of the first class, as asked for; of the others, which compete for the same place, the largest."""
        if k or self.results.regions == "largest":
            return [] if found.largest is None else [found.largest]
        return found.regions(self.results.regions, self.results.min_area)

    def _with_mask(self, prediction: Prediction, mask: Bool[np.ndarray, "Y X"]) -> Prediction:
        outlines = polygons_of_mask(mask) if self.results.masks == "polygons" else None
        return replace(prediction, mask=encode_mask(mask), polygons=outlines)

    def _save_maps(self, name: str, found: Sequence[Localization]) -> list[str]:
        """Write each distinct score map once and return the file of each class."""
        distinct = list({id(of_class.score_map): of_class.score_map for of_class in found}.values())
        files: dict[int, str] = {}
        for k, score_map in enumerate(distinct):
            files[id(score_map)] = file = f"maps/{name}_{k + 1}.npy" if len(distinct) > 1 else f"maps/{name}.npy"
            with replacing(self.folder / file) as stream:
                np.save(stream, score_map)
        return [files[id(of_class.score_map)] for of_class in found]

    def _save_mask(self, name: str, size: tuple[int, int], masks: Sequence[Bool[np.ndarray, "Y X"]]) -> str:
        """Write the union of the regions, 255 on 0, as `dataset=folder` reads masks."""
        union = np.any(masks, axis=0) if masks else np.zeros(size[::-1], bool)
        return self._save_picture(f"masks/{name}.png", union.astype(np.uint8) * 255)

    def _save_overlay(
        self,
        name: str,
        loaded: LoadedImage,
        found: Sequence[Localization],
        regions: Sequence[Sequence[Region]],
        is_found: bool,
    ) -> str:
        if self.results.overlays == "none" or loaded.photo is None:
            return ""
        boxes = [[region.box for region in of_class] for of_class in regions]
        drawn = draw_overlay(loaded.photo, found, boxes, is_found)
        return self._save_picture(f"overlays/{name}.{self.results.overlays}", drawn)

    def _save_picture(self, file: str, pixels: np.ndarray) -> str:
        """Encode RGB or grey pixels, and return the file's path in the output folder."""
        kind, bgr = Path(file).suffix, pixels[..., ::-1] if pixels.ndim == 3 else pixels
        _, encoded = cv2.imencode(kind, np.ascontiguousarray(bgr), ENCODING[kind])
        with replacing(self.folder / file) as stream:
            stream.write(encoded.tobytes())
        return file
