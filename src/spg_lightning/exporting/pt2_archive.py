"""Check a torch.export archive before torch reads it.

`torch.export.load` unpickles, evaluates the text of expressions, and looks up any name below `torch` as an operation. What it gets
to see is therefore a copy that holds nothing but tensors and operations on tensors.
"""

import json
import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from spg_lightning.errors import UserError, first_line
from spg_lightning.exporting.description import KEY, ModelDescription

DESCRIPTION = f"extra/{KEY}.json"
MODEL = "models/model.json"
CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
PLAIN = re.compile(
    r"archive_format|archive_version|byteorder|\.data/\w+|data/weights/weight_\d+|data/constants/tensor_\d+"
)
SAMPLE = "data/sample_inputs/model.pt"  # a pickle; replaced by nothing
EXPRESSION = re.compile(
    r"(?:Symbol\('[su]\d+', (?:positive=True, )?integer=True\)"
    r"|\b(?:Add|Mul|Pow|Integer|Rational|FloorDiv|Mod|Max|Min|CleanDiv|true|false)\b|\d+|[-(), ])+"
)
OPERATION = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")
PYTHON_OPERATIONS = {
    f"_operator.{name}" for name in ("add", "sub", "mul", "floordiv", "mod", "eq", "ge", "gt", "le", "lt", "getitem")
}


def checked_archive(path: Path) -> tuple[ModelDescription, BytesIO]:
    """Return the description of a .pt2 file, and a copy of it that is safe to load.

    Raises:
        UserError: not an archive of this package's export, or one that holds more than tensors and operations on them.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
            files = {name: archive.read(full) for name, full in zip(names, archive.namelist(), strict=True)}
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UserError(
            f"{path} is damaged or not a torch.export program ({first_line(error)}); export the checkpoint again"
        ) from error
    text = files.pop(DESCRIPTION, b"").decode(errors="replace")
    description = ModelDescription.from_json(text, path, "a torch.export program")
    try:
        known = {name: _checked(name, content) for name, content in files.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: {first_line(error)}; refused, because loading it could run code") from error
    copy = BytesIO()
    with zipfile.ZipFile(copy, "w") as archive:
        for name, content in known.items():
            archive.writestr(f"archive/{name}", content)
    copy.seek(0)
    return description, copy


def unsafe_operations(operations: Iterator[str]) -> list[str]:
    """Return the names that are not operations on tensors; those with a text among their arguments could name a file."""
    return sorted({name for name in operations if name not in PYTHON_OPERATIONS and not _is_safe(name)})


def _is_safe(name: str) -> bool:
    found = OPERATION.fullmatch(name)
    if found is None:
        return False
    operation = getattr(getattr(torch.ops.aten, found[1], None), found[2], None)
    if not isinstance(operation, torch._ops.OpOverload):
        return False
    return not any(
        "str" in str(argument.type) and not argument.has_default_value() for argument in operation._schema.arguments
    )


def _checked(name: str, content: bytes) -> bytes:
    """Return the content of a file of the archive without its pickles and traces; ValueError if there is more."""
    if PLAIN.fullmatch(name):
        return content
    if name == SAMPLE:
        return b""
    if name in CONFIGS:
        for entry in json.loads(content)["config"].values():
            if entry["use_pickle"] or not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
                raise ValueError(f"{name} holds a pickle")
        return content
    if name != MODEL:
        raise ValueError(f"it holds a file {name}")
    model = json.loads(content)
    if model.get("guards_code"):
        raise ValueError("it holds code")
    for key, value in _items(model):
        if key == "expr_str" and not EXPRESSION.fullmatch(value):
            raise ValueError(f"it holds the expression {value}")
        if key == "metadata":
            value.clear()
    operations = (value for key, value in _items(model) if key in ("target", "as_operator") and isinstance(value, str))
    if unsafe := unsafe_operations(operations):
        raise ValueError(f"it calls {', '.join(unsafe)}")
    return json.dumps(model).encode()


def _items(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in list(node.items()):
            yield key, value
            yield from _items(value)
    elif isinstance(node, list):
        for value in node:
            yield from _items(value)
