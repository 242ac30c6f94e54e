"""From images to score maps, boxes and masks: a model, the score map it localizes with, and a threshold.

Imports no torch: an exported model does without (`exporting.exported_localizer`), and a network brings it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image, ImageOps

from spg_lightning.data.decode import read_image
from spg_lightning.errors import UserError
from spg_lightning.localization.confidence import Confidence, box_features
from spg_lightning.localization.regions import Box, Region, find_regions, mask_at_image_size

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from spg_lightning.score_maps.context import ScoreMap, ScoreMapContext
    from spg_lightning.spg.network import SPGNetwork

log = logging.getLogger(__name__)
Picture = UInt8[np.ndarray, "Y X 3"] | Image.Image | str | Path
EXPORTED = (".onnx", ".pt2", ".xml")  # endings of exported models
UNKNOWN = Confidence()
NOWHERE: Box = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Localization:
    """One class of one image.

    Attributes:
        class_index: of the network.
        class_name: its name; the index where the localizer has no names.
        score: probability of the class, in [0, 1].
        score_map: at the network's input size, in [0, 1].
        threshold: fraction of the map's maximum, in [0, 1).
        size: width and height of the image in pixels.
        probabilities: of all classes.
        confidence: fitted on val; without one `box_confidence` and `presence` are None.
        others: of the most probable class, the localizer's further score maps by name.
    """

    class_index: int
    class_name: str
    score: float
    score_map: Float[np.ndarray, "y x"]
    threshold: float
    size: tuple[int, int]
    probabilities: Float[np.ndarray, " K"]
    confidence: Confidence = UNKNOWN
    others: Mapping[str, Float[np.ndarray, "y x"]] = field(default_factory=dict)

    @cached_property
    def largest(self) -> Region | None:
        """The largest region; None of a map of zeros."""
        return next(iter(self.regions()), None)

    @property
    def box(self) -> Box:
        """x0 y0 x1 y1 around the largest region, in pixels of the image: the box that evaluation scores."""
        return NOWHERE if self.largest is None else self.largest.box

    def regions(self, which: str = "largest", min_area: float = 0.0) -> list[Region]:
        """Return the regions above the threshold; see `find_regions`."""
        return find_regions(self.score_map, self.threshold, self.size, which, min_area)

    def mask_of(self, region: Region) -> Bool[np.ndarray, "Y X"]:
        """Return a region's mask at the size of the image."""
        return mask_at_image_size(self.score_map, self.threshold, region, self.size)

    @property
    def mask(self) -> Bool[np.ndarray, "Y X"]:
        """The largest region's mask at the size of the image."""
        return np.zeros(self.size[::-1], bool) if self.largest is None else self.mask_of(self.largest)

    def box_confidence(self, region: Region | None = None) -> float | None:
        """Return the probability that a region's box, or the largest one's, reaches IoU 0.5 with an object; None if unknown."""
        region = region or self.largest
        if self.confidence.box is None or region is None:
            return None
        return float(self.confidence.box(self.features(region)[None])[0])

    @cached_property
    def presence(self) -> float | None:
        """Probability that the image shows an object of the classes; None if unknown."""
        if self.confidence.presence is None or self.largest is None:
            return None
        return float(self.confidence.presence(self.features(self.largest)[None])[0])

    @property
    def is_present(self) -> bool:
        """Whether the image shows an object of the classes; True if unknown."""
        return self.largest is not None and (self.presence is None or self.presence >= self.confidence.present_above)

    def features(self, region: Region) -> Float[np.ndarray, " F"]:
        """Return what the confidence of a region's box is computed from; see `box_features`."""
        return box_features(self.probabilities, self.class_index, self.score_map, region, self.threshold)


@dataclass(frozen=True)
class ModelOutput:
    """What a model gives for a batch.

    Attributes:
        probabilities: (B, K) of all classes.
        classes: (B, k) the most probable ones, the most probable first.
        maps: the score maps in [0, 1]: k entries of (B, y, x), or one that serves all classes.
        others: of the most probable class, further score maps by name, (B, y, x) each.
    """

    probabilities: Float[np.ndarray, "B K"]
    classes: Int[np.ndarray, "B k"]
    maps: Sequence[Float[np.ndarray, "B y x"]]
    others: Mapping[str, Float[np.ndarray, "B y x"]] = field(default_factory=dict)


class Localizer:
    """Localizes with a score map of a network: a box around the largest region above the threshold.

    Evaluation, prediction, galleries and comparison figures all localize with this class.

    Args:
        network: in evaluation mode.
        score_maps: by name, see `score_maps.resolve` and `score_maps.processed`. The first one makes the boxes; `localize` gives
            the others beside it.
        threshold: fraction of the map's maximum, in [0, 1).
        crop: side in pixels that `localize` resizes images to; None keeps their size.
        class_names: in the order of the network's classes.
        confidence: of boxes, fitted on val.

    Raises:
        UserError: the threshold is out of its range.
    """

    def __init__(
        self,
        network: SPGNetwork,
        score_maps: Mapping[str, ScoreMap],
        threshold: float = 0.2,
        crop: int | None = None,
        class_names: Sequence[str] = (),
        confidence: Confidence | None = None,
    ) -> None:
        if not 0 <= threshold < 1:
            raise UserError(f"threshold={threshold:g}: choose a fraction of the map's maximum, at least 0 and below 1")
        self.network, self.score_maps, self.threshold = network, dict(score_maps), threshold
        self.crop, self.class_names = crop, tuple(class_names)
        self.confidence = confidence or UNKNOWN
        self._lock = threading.Lock()  # hooks on the network's modules see every thread's forward

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the lock, which belongs to one process."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state, with a lock of its own."""
        vars(self).update(state, _lock=threading.Lock())

    @staticmethod
    def load(path: str | Path, **options: Any) -> Localizer:
        """Return the localizer of a checkpoint, a shared folder or address (`hf://owner/name`), or an exported model.

        Args:
            path: .ckpt or .safetensors; a folder that `push` wrote; .onnx, .pt2 or .xml.
            options: see `from_checkpoint`; an exported model takes `threshold` alone, the rest is built into it.

        Raises:
            UserError: the file cannot be used.
        """
        if Path(path).suffix.lower() in EXPORTED:
            from spg_lightning.exporting.exported_localizer import ExportedLocalizer

            return ExportedLocalizer.open(Path(path).expanduser(), **options)
        return Localizer.from_checkpoint(path, **options)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        score_map: str | None = None,
        threshold: float | None = None,
        trust: Sequence[str] = (),
        extra: Mapping[str, ScoreMap] | None = None,
        processing: Mapping[str, Any] | None = None,
    ) -> Localizer:
        """Return the localizer that a checkpoint describes, on the CPU.

        Args:
            path: of a checkpoint of this package.
            score_map, threshold: None for those that the evaluation chose on val and stored in the checkpoint.
            trust: packages, beside this one, whose classes the checkpoint may name.
            extra: score maps of your own, by name.
            processing: nodes of `PROCESSING` in place of the checkpoint's, as in a config.

        Raises:
            UserError: the file cannot be used, the network lacks the score map, or neither the arguments nor the checkpoint
                give a score map and a threshold.
        """
        from spg_lightning.checkpoints.allowed_targets import check_allowed_targets
        from spg_lightning.checkpoints.rebuild import (
            PROCESSING,
            load_network,
            select_processed_map,
            trained_score_maps,
        )

        network, metadata = load_network(path, trust)
        chosen = metadata.localization
        if not chosen and (score_map is None or threshold is None):
            raise UserError(
                f"checkpoint={path} was not evaluated and stores no score map and threshold; "
                "give both, e.g. score_map=attention threshold=0.2"
            )
        known = {**trained_score_maps(metadata, path, trust), **(extra or {})}
        settings = {key: metadata.config.get(key) for key in PROCESSING}
        check_allowed_targets(settings, path, trust)
        settings |= {key: node for key, node in (processing or {}).items() if node is not None}
        stored = str(chosen.get("score_map", ""))
        maps = select_processed_map(score_map, stored, network.branches, known, settings)
        name = next(iter(maps))
        # of another map or threshold the confidence was not fitted
        is_chosen = name == stored and (threshold is None or threshold == chosen.get("threshold"))
        if threshold is None:
            threshold = float(chosen["threshold"])
            if name != stored:
                log.warning("threshold %.3f was chosen for score map %s, not for %s", threshold, stored, name)
        confidence = Confidence.from_plain(chosen.get("confidence")) if is_chosen else None
        return cls(network, maps, threshold, metadata.crop, metadata.class_names, confidence)

    @property
    def name(self) -> str:
        """Name of the score map that makes the boxes."""
        return next(iter(self.score_maps))

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return next(self.network.parameters()).device

    @contextmanager
    def context(self, images: UInt8[Tensor, "B 3 Y X"], needs_output: bool = True) -> Iterator[ScoreMapContext]:
        """Run the network once on RGB images in [0, 255] and yield the context of the score maps."""
        from spg_lightning.score_maps.context import score_map_context

        inputs = self.network.stem.normalize(images.to(self.device))
        with score_map_context(self.network, inputs, self.score_maps, needs_output=needs_output) as context:
            yield context

    def maps(self, images: UInt8[Tensor, "B 3 Y X"], labels: Sequence[int]) -> Float[np.ndarray, "B Y X"]:
        """Return the score map of one class an image, at the size of the images, in [0, 1]."""
        with self.context(images, needs_output=False) as context:
            values: np.ndarray = context.map(self.name, self._classes(labels))[:, 0].cpu().numpy()
        return values

    def __call__(self, image: Picture, top_k: int = 1) -> list[Localization]:
        """Return the `top_k` most probable classes of one image; see `localize`."""
        (found,) = self.localize([image], top_k)
        return found

    def localize(self, images: Sequence[Picture], top_k: int = 1) -> list[list[Localization]]:
        """Return the `top_k` most probable classes of each image, each with its own box, the most probable first.

        Several threads may call it at once.

        Args:
            images: RGB arrays (Y, X, 3) of uint8, PIL pictures or paths, in any mixture; without `crop` all of one size.
            top_k: at most the number of classes.

        Raises:
            UserError: an image cannot be read, or is no RGB picture.
        """
        pictures = [as_rgb(image) for image in images]
        if not pictures:
            return []
        frames = pictures if self.crop is None else [resize_to_square(image, self.crop) for image in pictures]
        return self.localize_frames(np.stack(frames), [(p.shape[1], p.shape[0]) for p in pictures], top_k)

    def localize_frames(
        self, frames: UInt8[np.ndarray, "B y x 3"], sizes: Sequence[tuple[int, int]], top_k: int = 1
    ) -> list[list[Localization]]:
        """Localize in images that are at the network's input size already.

        Args:
            frames: RGB, see `resize_to_square`.
            sizes: width and height of each image; boxes refer to them.
            top_k: see `localize`.

        Raises:
            UserError: the model gives numbers that are not finite.
        """
        output = self.run(frames, top_k)
        found: list[list[Localization]] = []
        for i, size in enumerate(sizes):
            probabilities = output.probabilities[i]
            maps = [values[i] for values in output.maps]
            if not (np.isfinite(probabilities).all() and all(np.isfinite(values).all() for values in maps)):
                raise UserError(
                    "the model gives numbers that are not finite; train it again, or take another checkpoint"
                )
            found.append([
                Localization(
                    int(index), self._class_name(int(index)), float(probabilities[index]), maps[k % len(maps)],
                    self.threshold, size, probabilities, self.confidence,
                    {} if k else {name: values[i] for name, values in output.others.items()},
                )
                for k, index in enumerate(output.classes[i])
            ])  # fmt: skip
        return found

    def run(self, frames: UInt8[np.ndarray, "B y x 3"], top_k: int) -> ModelOutput:
        """Return classes and score maps of images at the network's input size."""
        import torch

        batch = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
        per_class = self.score_maps[self.name].per_class
        with self._lock, self.context(batch) as context:
            probabilities = context.output.logits.float().softmax(1)
            classes = probabilities.topk(min(top_k, probabilities.shape[1]), dim=1).indices
            count = classes.shape[1] if per_class else 1
            maps = [_as_array(context.map(self.name, classes[:, k])) for k in range(count)]
            others = {name: _as_array(context.map(name, classes[:, 0])) for name in list(self.score_maps)[1:]}
        return ModelOutput(probabilities.cpu().numpy(), classes.cpu().numpy(), maps, others)

    def _class_name(self, index: int) -> str:
        return self.class_names[index] if self.class_names else str(index)

    def _classes(self, labels: Sequence[int]) -> Tensor:
        import torch

        return torch.tensor(list(labels), device=self.device)


def _as_array(maps: Tensor) -> Float[np.ndarray, "B y x"]:
    return np.asarray(maps[:, 0].float().clamp(0, 1).cpu().numpy())


def as_rgb(image: Picture) -> UInt8[np.ndarray, "Y X 3"]:
    """Return an image as RGB, turned as its EXIF orientation says.

    Args:
        image: an RGB array of uint8, a PIL picture, or the path of a file.

    Raises:
        UserError: a file that cannot be read, or an array that is no RGB picture.
    """
    if isinstance(image, str | Path):
        return read_image(
            Path(image), apply_exif_orientation=True,
            on_truncated=lambda: log.warning("%s is cut off at its end, and read as far as it goes", image),
        )  # fmt: skip
    if isinstance(image, Image.Image):
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{image.dtype} of {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise UserError(f"an image is an RGB array (height, width, 3) of uint8, a PIL picture or a path; got {found}")
    return image


def resize_to_square(image: UInt8[np.ndarray, "Y X 3"], side: int) -> UInt8[np.ndarray, "S S 3"]:
    """Return the whole image at the network's input size, as evaluation resizes it (`data.transforms.test_transform`)."""
    if image.shape[:2] == (side, side):
        return image
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR))
