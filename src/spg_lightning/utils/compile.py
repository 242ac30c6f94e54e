"""torch.compile for training; evaluation stays eager."""

import os
import shutil
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from spg_lightning.errors import UserError

COMPILERS = ("g++", "clang++", "c++")
CUDA_GRAPHS = "reduce-overhead"  # torch.compile's name of the mode


def compile_in_place(network: nn.Module, mode: bool | str = True) -> None:
    """Compile the network in place. Its class, the names of its weights and its checkpoints do not change.

    Args:
        network: to compile.
        mode: True, or "reduce-overhead": on GPUs CUDA graphs launch all kernels of a forward or backward at once, for more memory.

    Raises:
        UserError: there is no C++ compiler, which torch.compile needs on every device.
    """
    if not any(shutil.which(name) for name in (os.environ.get("CXX", ""), *COMPILERS) if name):
        raise UserError("module.compile=true needs a C++ compiler (apt install g++, or CXX=<path>); or set it to false")
    # batches have one size, except after on_corrupt_image=skip: each size is compiled once, up to eight
    network.compile(dynamic=False, mode=CUDA_GRAPHS if mode == CUDA_GRAPHS else None)


def eager(network: nn.Module) -> AbstractContextManager:
    """Return a context in which the network runs eagerly: hooks inside it are called, and batches may have any size."""
    if network._compiled_call_impl is None:
        return nullcontext()  # set_stance imports the compiler
    return torch.compiler.set_stance("force_eager")
