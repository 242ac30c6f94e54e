"""One generated case: good inputs, a fault on them, and the command that meets it."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

INDEX = ".spg_lightning"  # what commands keep beside a data set
OUTPUT = "out"  # the only folder that a command may change, beside caches


def nothing(folder: Path) -> None:
    """Leave the inputs as they are."""


@dataclass(frozen=True)
class Case:
    """A command with a fault, and the same command without it.

    Attributes:
        name: unique, with its kind of input first, as in `photos/bomb.png/predict`.
        command: to run in a folder of its own.
        arguments: without the fault; paths are relative to that folder.
        inputs: names of `templates` to copy into the folder.
        fault: breaks the copies.
        faulty: overrides that replace those of the same key.
        names: the line of an error holds at least one of them.
        must: "fail", "succeed", or "either", where a value may be legal.
        repeats: the command succeeds once the fault is gone. Not where a sound archive of something else was extracted: it
            stays, and is not overwritten.
        environment: variables to set; None removes one.
        fresh: run a new interpreter instead of a fork of the warm one.
    """

    name: str
    command: str
    arguments: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    fault: Callable[[Path], None] = nothing
    faulty: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    must: str = "either"
    repeats: bool = True
    environment: dict[str, str | None] = field(default_factory=dict)
    fresh: bool = False

    def place_inputs(self, templates: Path, folder: Path) -> None:
        """Put fresh copies of the good inputs into a folder. An index that a command wrote beside them stays."""
        for name in self.inputs:
            kept, index = folder / "index", folder / name / INDEX
            if index.is_dir():
                index.rename(kept)
            remove(folder / name)
            source = templates / name
            if source.is_dir():
                shutil.copytree(source, folder / name, symlinks=True)
            else:
                shutil.copy(source, folder / name)
            if kept.is_dir():
                kept.rename(index)

    def faulty_arguments(self) -> list[str]:
        """Return the arguments with the fault."""
        keys = {word.lstrip("+").split("=")[0] for word in self.faulty if "=" in word}
        return [*(word for word in self.arguments if word.split("=")[0] not in keys), *self.faulty]


def remove(path: Path) -> None:
    """Remove a file, folder or link, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
