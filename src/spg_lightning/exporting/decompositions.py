"""Operations that ONNX has no word for, in simpler ones."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def solve(matrix: Tensor, right: Tensor, *, left: bool = True) -> Tensor:
    """Return X of `matrix @ X = right` by elimination without pivoting, which suits positive definite matrices.

    The guided filter's are: covariances of three colours plus epsilon.
    """
    if not left:
        raise NotImplementedError("solve X @ matrix = right")
    side = matrix.shape[-1]
    rows = [matrix[..., i : i + 1, :] for i in range(side)]
    values = [right[..., i : i + 1, :] for i in range(side)]
    for i in range(side):
        for j in range(i + 1, side):
            factor = rows[j][..., i : i + 1] / rows[i][..., i : i + 1]
            rows[j], values[j] = rows[j] - factor * rows[i], values[j] - factor * values[i]
    found: list[Tensor] = [right] * side
    for i in reversed(range(side)):
        known = [rows[i][..., j : j + 1] * found[j] for j in range(i + 1, side)]
        found[i] = (values[i] - sum(known)) / rows[i][..., i : i + 1]
    return torch.cat(found, -2)


def kth_value(values: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """Return the k-th smallest value along a dimension, and its index."""
    ordered, indices = values.sort(dim)
    index = [slice(None)] * values.ndim
    index[dim] = slice(k - 1, k)
    found = ordered[tuple(index)], indices[tuple(index)]
    return found if keepdim else (found[0].squeeze(dim), found[1].squeeze(dim))


TABLE: dict[Any, Callable[..., Any]] = {
    aten.linalg_solve.default: solve,
    aten.kthvalue.default: kth_value,
}
