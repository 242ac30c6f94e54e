"""Checkpoints, exported models and published weights that are damaged, for every command that reads them."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import torch

from tests.faults import templates
from tests.faults.case import Case
from tests.faults.file_faults import ANY, Fault, void

BYTES = 24  # places where a byte is changed


class Trap:
    """What a hostile pickle does when it is loaded."""

    def __reduce__(self) -> tuple:
        return (open, ("executed.txt", "w"))


def _flip(path: Path, piece: int) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) * piece // BYTES] ^= 0x42
    path.write_bytes(data)


def _cut(path: Path, piece: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * piece // BYTES])


DAMAGE: dict[str, Fault] = {
    **ANY,
    **{f"bit {piece} of {BYTES}": lambda path, piece=piece: _flip(path, piece) for piece in range(BYTES)},
    **{f"cut at {piece} of {BYTES}": lambda path, piece=piece: _cut(path, piece) for piece in range(1, BYTES, 3)},
    "a pickle that runs code": lambda path: void(path.write_bytes(pickle.dumps({"state_dict": Trap()}))),
    "a tensor": lambda path: torch.save(torch.zeros(2), path),
    "a list": lambda path: torch.save([1, 2], path),
    "no weights": lambda path: torch.save({"state_dict": {}}, path),
    "numbers for weights": lambda path: torch.save({"state_dict": {"a": 1}}, path),
    "text for weights": lambda path: torch.save({"state_dict": "abc"}, path),
    "weights with NaN": lambda path: _each_weight(path, lambda value: torch.full_like(value, torch.nan)),
    "weights of 1e30": lambda path: _each_weight(path, lambda value: torch.full_like(value, 1e30)),
    "empty weights": lambda path: _each_weight(path, lambda value: value[:0] if value.ndim else value),
    "whole numbers": lambda path: _each_weight(path, lambda value: value.to(torch.int32)),
    "complex numbers": lambda path: _each_weight(path, lambda value: value.to(torch.complex64)),
}  # fmt: skip
READERS = {
    "predict": (templates.PREDICT, templates.CHECKPOINT, ("photos", "run")),
    "evaluate": (templates.EVALUATE, templates.CHECKPOINT, ("cub", "run")),
    "export": (templates.EXPORT, templates.CHECKPOINT, ("run",)),
    "push": (templates.PUSH, templates.CHECKPOINT, ("run",)),
    "convert": (templates.CONVERT, "published.pth", ("published.pth",)),
    "predict onnx": (("checkpoint=model.onnx", *templates.PREDICT[1:]), "model.onnx", ("photos", "model.onnx")),
    "predict pt2": (("checkpoint=model.pt2", *templates.PREDICT[1:]), "model.pt2", ("photos", "model.pt2")),
    "predict shared": (("checkpoint=shared", *templates.PREDICT[1:]), "shared/model.safetensors", ("photos", "shared")),
    "predict shared config": (
        ("checkpoint=shared", *templates.PREDICT[1:]),
        "shared/config.json",
        ("photos", "shared"),
    ),
}


def _each_weight(path: Path, change: object) -> None:
    assert callable(change)
    if path.suffix in (".ckpt", ".pth"):
        content = torch.load(path, weights_only=True)
        weights = content.get("state_dict", content)
        for name, value in weights.items():
            if value.is_floating_point():
                weights[name] = change(value)
        torch.save(content, path)


def cases() -> Iterator[Case]:
    """Yield a case for each reader and damage."""
    for name, (arguments, file, inputs) in READERS.items():
        for what, fault in DAMAGE.items():
            yield Case(
                f"checkpoint_files/{name}/{what}", name.split()[0], arguments, inputs,
                lambda folder, file=file, fault=fault: fault(folder / file),
            )  # fmt: skip
