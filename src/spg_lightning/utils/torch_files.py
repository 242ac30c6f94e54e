"""Load a file of `torch.save` without running code stored in it, and only if it is whole."""

import zipfile
from pathlib import Path
from typing import Any

import torch


def load_torch_file(path: Path) -> Any:
    """Return the content of a file, on the CPU.

    torch stores a checksum of every tensor, but does not compare it when it loads: a flipped bit would be another weight.

    Raises:
        ValueError: a checksum differs.
        Exception: of many types, for a file that is damaged, or holds more than tensors and plain data.
    """
    if zipfile.is_zipfile(path):  # torch before 1.6 wrote another format, without checksums
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"checksum of {damaged}")
    return torch.load(path, map_location="cpu", weights_only=True)
