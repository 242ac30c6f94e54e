"""Finished runs below a folder, read and checked."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from spg_lightning.comparison.presets import flatten
from spg_lightning.errors import UserError, first_line

FACTS, NUMBERS, CONFIG = "provenance.json", "metrics.json", "config.yaml"


@dataclass(frozen=True)
class Run:
    """One finished training run.

    Attributes:
        folder: where it is. name: the folder as seen from the collected one.
        config: dotted key -> value.
        numbers: as in metrics.json. facts: as in provenance.json.
    """

    folder: Path
    name: str
    config: dict[str, Any]
    numbers: dict[str, float]
    facts: dict[str, Any]

    @property
    def seed(self) -> Any:
        """Return the seed of the run."""
        return self.config.get("seed", self.facts.get("seed"))

    @property
    def score_map(self) -> str:
        """Return the map that was chosen on val."""
        return str(self.facts.get("score_map", ""))

    @property
    def score_maps(self) -> list[str]:
        """Return all the maps it has numbers of."""
        parts = [key.split("/") for key in self.numbers if key.startswith("test/")]
        return list(dict.fromkeys(name for _, name, *rest in parts if rest))

    def number(self, metric: str, score_map: str = "auto", split: str = "test") -> float | None:
        """Return a number, of the map chosen on val (auto) or of another; None where there is none."""
        middle = "" if score_map == "auto" else f"{score_map}/"
        value = self.numbers.get(f"{split}/{middle}{metric}")
        return None if value is None or not math.isfinite(value) else value


def collect(root: Path) -> tuple[list[Run], list[str]]:
    """Return every finished run below `root`, and what was left out with the reason.

    Raises:
        UserError: no such folder, or no finished run in it.
    """
    if not root.is_dir():
        raise UserError(f"runs={root}: there is no such folder")
    runs: list[Run] = []
    left_out: list[str] = []
    for folder in _candidates(root):
        name = folder.relative_to(root).as_posix()
        try:
            run = _read(folder, name)
        except UserError as error:  # one damaged run is no reason to show none
            left_out.append(f"{name}: {error}")
        else:
            runs += [run] if run else []
    if not runs:
        left = f" ({'; '.join(left_out)})" if left_out else f": no folder with {FACTS}"
        raise UserError(f"runs={root} holds no finished run{left}; `train` writes them")
    return runs, left_out


def _read(folder: Path, name: str) -> Run | None:
    """Return the run of a folder; None for what is none, as an evaluation's folder.

    Raises:
        UserError: it is unfinished or damaged.
    """
    there = {file for file in (FACTS, NUMBERS, CONFIG) if (folder / file).is_file()}
    if CONFIG not in there:
        raise UserError(f"no {CONFIG}, so no training run")
    config = _config(folder / CONFIG)
    if not {"method", "seed"} <= set(config):
        return None  # of an evaluation, or of another program
    if missing := [file for file in (NUMBERS, FACTS) if file not in there]:
        raise UserError(f"unfinished, {' and '.join(missing)} missing")
    facts, numbers = _json(folder / FACTS), _json(folder / NUMBERS)
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{NUMBERS}: '{key}' is {value!r}, not a number; remove or repeat the run")
    return Run(folder, name, dict(flatten(config)), numbers, facts)


def _candidates(root: Path) -> Iterator[Path]:
    """Yield folders that look like runs; a run's own subfolders (loggers', checkpoints) are not looked into."""
    for folder, subfolders, names in os.walk(root):
        subfolders.sort()
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and name != "wandb"]
        if FACTS in names or CONFIG in names:
            if Path(folder) != root:
                subfolders.clear()
            yield Path(folder)


def _config(path: Path) -> dict[str, Any]:
    try:
        read = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (yaml.YAMLError, OSError, ValueError) as error:
        raise UserError(f"{path.name} is no readable YAML ({first_line(error)}); remove or repeat the run") from error
    return {str(key): value for key, value in read.items()} if isinstance(read, dict) else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path.name} is no readable JSON ({first_line(error)}); remove or repeat the run") from error
    if not isinstance(read, dict):
        raise UserError(f"{path.name} holds no JSON object; remove or repeat the run")
    return read
