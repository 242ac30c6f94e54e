"""From images to score maps and boxes: a network, the score maps it localizes with, and a threshold."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from spg_lightning.checkpoints.allowed_targets import check_allowed_targets
from spg_lightning.checkpoints.rebuild import PROCESSING, load_network, select_processed_map, trained_score_maps
from spg_lightning.data.transforms import test_transform
from spg_lightning.errors import UserError
from spg_lightning.localization.threshold_scan import box_of_map
from spg_lightning.score_maps.context import ScoreMap, ScoreMapContext, score_map_context
from spg_lightning.spg.network import SPGNetwork

log = logging.getLogger(__name__)
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Localization:
    """One class of one image.

    Attributes:
        class_index: of the network.
        class_name: its name; the index where the localizer has no names.
        score: probability in [0, 1].
        box: x0 y0 x1 y1 in pixels of the image.
        score_map: at the network's input size, in [0, 1].
    """

    class_index: int
    class_name: str
    score: float
    box: Box
    score_map: Float[np.ndarray, "Y X"]


class Localizer:
    """Localizes with a score map of a network: a box around the largest region above the threshold.

    Evaluation, prediction, galleries and comparison sheets all localize with this class.

    Args:
        network: in evaluation mode.
        score_maps: by name, see `score_maps.resolve` and `score_maps.processed`. The first one makes the boxes.
        threshold: fraction of the map's maximum, in [0, 1).
        crop: side in pixels that `localize` resizes images to; None keeps their size.
        class_names: in the order of the network's classes.

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
    ) -> None:
        if not 0 <= threshold < 1:
            raise UserError(f"threshold={threshold:g}: choose a fraction of the map's maximum, at least 0 and below 1")
        self.network, self.score_maps, self.threshold = network, dict(score_maps), threshold
        self.crop, self.class_names = crop, tuple(class_names)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        score_map: str | None = None,
        threshold: float | None = None,
        trust: Sequence[str] = (),
        extra: Mapping[str, ScoreMap] | None = None,
        processing: Mapping[str, Any] | None = None,
    ) -> "Localizer":
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
        if threshold is None:
            threshold = float(chosen["threshold"])
            if (name := next(iter(maps))) != chosen["score_map"]:
                log.warning(
                    "threshold %.3f was chosen for score map %s, not for %s", threshold, chosen["score_map"], name
                )
        return cls(network, maps, threshold, metadata.crop, metadata.class_names)

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
        inputs = self.network.stem.normalize(images.to(self.device))
        with score_map_context(self.network, inputs, self.score_maps, needs_output=needs_output) as context:
            yield context

    def maps(self, images: UInt8[Tensor, "B 3 Y X"], labels: Sequence[int]) -> Float[np.ndarray, "B Y X"]:
        """Return the score map of one class an image, at the size of the images, in [0, 1]."""
        with self.context(images, needs_output=False) as context:
            values: np.ndarray = context.map(self.name, self._classes(labels))[:, 0].cpu().numpy()
        return values

    def box(self, score_map: Float[np.ndarray, "Y X"], size: tuple[int, int]) -> Box:
        """Return the box x0 y0 x1 y1 of a score map, in pixels of an image of `size` (width, height)."""
        return box_of_map(score_map, self.threshold, size)

    def localize(self, images: Sequence[UInt8[np.ndarray, "Y X 3"]], top_k: int = 1) -> list[list[Localization]]:
        """Return the `top_k` most probable classes of each RGB image, each with its own box, the most probable first.

        Without `crop` all images must have one size.
        """
        frames = images if self.crop is None else [resize_to_square(image, self.crop) for image in images]
        batch = torch.from_numpy(np.stack(frames).transpose(0, 3, 1, 2).copy())
        per_class = self.score_maps[self.name].per_class
        with self.context(batch) as context:
            scores, classes = context.output.logits.softmax(1).topk(top_k, dim=1)
            maps = [context.map(self.name, classes[:, k])[:, 0].cpu().numpy() for k in range(top_k if per_class else 1)]
        found: list[list[Localization]] = []
        for i, image in enumerate(images):
            own = [values[i] for values in maps]
            boxes = [self.box(values, (image.shape[1], image.shape[0])) for values in own]
            ranked = enumerate(zip(classes[i].tolist(), scores[i].tolist(), strict=True))
            found.append([
                Localization(index, self._class_name(index), score, boxes[k % len(boxes)], own[k % len(own)])
                for k, (index, score) in ranked
            ])  # fmt: skip
        return found

    def _class_name(self, index: int) -> str:
        return self.class_names[index] if self.class_names else str(index)

    def _classes(self, labels: Sequence[int]) -> Tensor:
        return torch.tensor(list(labels), device=self.device)


def resize_to_square(image: UInt8[np.ndarray, "Y X 3"], side: int) -> UInt8[np.ndarray, "S S 3"]:
    """Return the whole image at the network's input size, as evaluation resizes it."""
    resized: np.ndarray = test_transform(side)(image=image, bboxes=np.zeros((0, 4)), box_rows=[])["image"]
    return resized
