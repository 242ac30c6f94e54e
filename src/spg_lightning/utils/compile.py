"""torch.compile for training, none of it for evaluation."""

import os
import shutil
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from spg_lightning.errors import UserError

COMPILERS = ("g++", "clang++", "c++")


def compile_in_place(network: nn.Module) -> None:
    """Let calls of the network run compiled; its class, the names of its weights and its checkpoints stay what they are.

    Raises:
        UserError: there is no C++ compiler, which torch.compile needs on every device.
    """
    if not any(shutil.which(name) for name in (os.environ.get("CXX", ""), *COMPILERS) if name):
        raise UserError("module.compile=true needs a C++ compiler (apt install g++, or CXX=<path>); or set it to false")
    network.compile(
        dynamic=False
    )  # batches of one size, but where on_corrupt_image=skip leaves photos out: each size is compiled once, up to eight


def eager(network: nn.Module) -> AbstractContextManager:
    """Return a context in which the network runs as written: hooks inside it are called, any batch size will do."""
    if network._compiled_call_impl is None:
        return nullcontext()  # the other one imports the compiler
    return torch.compiler.set_stance("force_eager")
