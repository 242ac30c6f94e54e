"""Localize with an exported model. Imports no torch unless the model is a torch.export program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from spg_lightning.errors import UserError
from spg_lightning.exporting.description import ModelDescription
from spg_lightning.exporting.runtimes import RUNTIMES, Runtime
from spg_lightning.localization.confidence import Confidence
from spg_lightning.localizer import Localizer, ModelOutput

if TYPE_CHECKING:
    from torch import Tensor

    from spg_lightning.score_maps.context import ScoreMapContext


class ExportedLocalizer(Localizer):
    """A localizer whose network and score map are a program of ONNX Runtime, OpenVINO or torch.export.

    Images are resized as for a checkpoint, outside the program. Several threads may use it at once.

    Args:
        path: of the file.
        description: of the model.
        runtime: images (B, S, S, 3) -> the program's outputs.
        threshold: fraction of a map's maximum; None for the exported one.

    Raises:
        UserError: the threshold is out of its range.
    """

    network: Any = None  # is inside the program

    def __init__(
        self, path: Path, description: ModelDescription, runtime: Runtime, threshold: float | None = None
    ) -> None:
        # of another threshold the confidence was not fitted
        is_own = threshold is None or threshold == description.threshold
        score_maps: Any = {description.score_map: None}
        super().__init__(
            None,  # type: ignore[arg-type]
            score_maps,
            description.threshold if threshold is None else threshold,
            description.crop,
            description.class_names,
            Confidence.from_plain(description.confidence) if is_own else None,
        )
        self.path, self.description, self._runtime = path, description, runtime

    @classmethod
    def open(cls, path: Path, threshold: float | None = None) -> ExportedLocalizer:
        """Return the localizer of a file that `export` wrote: .onnx, .pt2 or .xml (with its .bin beside it), on the CPU.

        Raises:
            UserError: the file is missing, damaged or another program's, or its runtime is not installed.
        """
        if not path.is_file():
            raise UserError(f"{path}: no such file; python -m spg_lightning.export checkpoint=<file> writes one")
        return cls(path, *RUNTIMES[path.suffix.lower()](path), threshold)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process open the file itself: a runtime cannot be sent there."""
        return ExportedLocalizer.open, (self.path, self.threshold)

    def run(self, frames: UInt8[np.ndarray, "B S S 3"], top_k: int) -> ModelOutput:
        """Return classes and score maps of images at the network's input size.

        Raises:
            UserError: the model was exported with fewer classes than `top_k`.
        """
        top_k = min(top_k, len(self.class_names))
        if top_k > self.description.top_k:
            raise UserError(
                f"top_k={top_k}: {self.path} was exported with top_k={self.description.top_k}; export it again with "
                f"top_k={top_k}"
            )
        probabilities, classes, maps, _ = self._runtime(np.ascontiguousarray(frames))
        count = top_k if self.description.per_class else 1
        return ModelOutput(probabilities, classes[:, :top_k], [maps[:, k] for k in range(count)])

    @contextmanager
    def context(self, images: UInt8[Tensor, "B 3 Y X"], needs_output: bool = True) -> Iterator[ScoreMapContext]:
        """Refuse: score maps of chosen classes need the network.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"{self.path} gives maps of its most probable classes alone; load the checkpoint for other maps"
        )
        yield
