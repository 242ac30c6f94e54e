"""What an exported file says of itself, as JSON under one key of each format's metadata. Imports no torch."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spg_lightning.errors import UserError
from spg_lightning.localization.description_checks import check_description

KEY = "spg_lightning"
FORMAT = 1  # raised when inputs, outputs or this description change


@dataclass(frozen=True)
class ModelDescription:
    """The description of an exported model.

    Attributes:
        class_names: in the order of the network's classes.
        crop: side in pixels of the score maps, and of the square that the program resizes images to.
        score_map: its name, as in the checkpoint.
        per_class: whether each class has its own map.
        top_k: number of classes that the program gives maps of.
        threshold: fraction of a map's maximum, in [0, 1).
        confidence: of boxes, see `Confidence.as_plain`.
        license: of the weights that the network was trained from; "unknown" if the checkpoint does not tell.
        provenance: versions, and name and SHA-256 of the checkpoint.
    """

    class_names: tuple[str, ...]
    crop: int
    score_map: str
    per_class: bool
    top_k: int
    threshold: float
    confidence: Mapping[str, Any] = field(default_factory=dict)
    license: str = "unknown"
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> str:
        """Return the text that the file stores under `KEY`."""
        return json.dumps({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str | None, path: Path, kind: str) -> "ModelDescription":
        """Return the description that `as_json` wrote.

        Args:
            text: None where the file has no such entry.
            path, kind: of the file, for the message: "an ONNX file".

        Raises:
            UserError: another program's file, or another version's.
        """
        if not text:
            raise UserError(
                f"{path} is {kind} of another program; give one that python -m spg_lightning.export has written"
            )
        try:
            stored = json.loads(text)
            number = stored.pop("format")
            if number == FORMAT:
                check_description(stored, str(path))
                return cls(**{**stored, "class_names": tuple(stored["class_names"])})
        except UserError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path}: its description is damaged; export the checkpoint again") from error
        raise UserError(
            f"{path} has format {number}, this version reads format {FORMAT}; export the checkpoint again with this version"
        )
