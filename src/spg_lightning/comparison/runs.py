"""Find and read the finished runs below a folder."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from spg_lightning.errors import UserError, first_line
from spg_lightning.utils.config_keys import leaves
from spg_lightning.utils.run_dir import RunDir


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
        files: of its folder.
        name: the folder's path below the searched one.
        data: the name of its data set.
        config: dotted key -> value, a list as text.
        variant: the overrides that name it.
        metrics: as in metrics.json.
        provenance: as in provenance.json.
    """

    files: RunDir
    name: str
    data: str
    config: dict[str, Any]
    variant: tuple[str, ...]
    metrics: dict[str, float]
    provenance: dict[str, Any]

    @property
    def seed(self) -> Any:
        """The seed of the run."""
        return self.config.get("seed", self.provenance.get("seed"))

    @property
    def score_map(self) -> str:
        """The score map chosen on val."""
        return str(self.provenance.get("score_map", ""))

    @property
    def score_maps(self) -> list[str]:
        """Every score map with test metrics."""
        parts = [key.split("/") for key in self.metrics if key.startswith("test/")]
        return list(dict.fromkeys(name for _, name, *rest in parts if rest))

    def metric(self, name: str, score_map: str = "auto", split: str = "test") -> float | None:
        """Return a metric of one score map ("auto": the one chosen on val), or None if it was not measured."""
        prefix = split if score_map == "auto" else f"{split}/{score_map}"
        value = self.metrics.get(f"{prefix}/{name}")
        return None if value is None or not math.isfinite(value) else value


def collect(root: Path) -> tuple[list[Run], list[str]]:
    """Return every finished run below `root`, and a line for each folder that was left out.

    Raises:
        UserError: the folder does not exist, or holds no finished run.
    """
    if not root.is_dir():
        raise UserError(f"runs={root}: no such folder")
    runs: list[Run] = []
    left_out: list[str] = []
    for folder in _candidates(root):
        name = folder.relative_to(root).as_posix()
        try:
            run = _read(RunDir(folder), name)
        except UserError as error:  # one damaged run must not hide the others
            left_out.append(f"{name}: {error}")
        else:
            runs += [run] if run else []
    if not runs:
        reasons = f" ({'; '.join(left_out)})" if left_out else ": no folder with provenance.json"
        raise UserError(f"runs={root} holds no finished run{reasons}; `train` writes them")
    return runs, left_out


def _candidates(root: Path) -> Iterator[Path]:
    """Yield the folders that look like runs. Subfolders of a run, as its checkpoints, are not searched."""
    for folder, subfolders, names in os.walk(root):
        subfolders.sort()
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and name != "wandb"]
        if {"provenance.json", "config.yaml"} & set(names):
            if Path(folder) != root:
                subfolders.clear()
            yield Path(folder)


def _read(files: RunDir, name: str) -> Run | None:
    """Return the run of a folder, or None for a folder of another command.

    Raises:
        UserError: the run is unfinished, damaged, or has no name.
    """
    if not files.config.is_file():
        raise UserError("no config.yaml, so not a training run")
    config = _read_config(files.config)
    if not {"method", "seed"} <= set(config):
        return None
    if missing := [path.name for path in (files.metrics, files.provenance) if not path.is_file()]:
        raise UserError(f"unfinished, {' and '.join(missing)} missing")
    metrics, provenance = _read_json(files.metrics), _read_json(files.provenance)
    for key, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"metrics.json: '{key}' is {value!r}, not a number; remove or repeat the run")
    for key, default in (("versions", {}), ("photos", {}), ("commit", None)):
        value = provenance.get(key, default)
        if not isinstance(value, dict if default == {} else str | None):
            raise UserError(f"provenance.json: '{key}' is {str(value)[:60]}; remove or repeat the run")
    if not isinstance(config.get("variant"), list):
        raise UserError(
            "its config.yaml has no `variant`, as before version 0.2; add the overrides that name the run, such as "
            "`variant: [guidance=direct]`"
        )
    values = {key: str(value) if isinstance(value, list) else value for key, value in leaves(config)}
    return Run(
        files, name, str(values.get("dataset.name")), values, tuple(map(str, config["variant"])), metrics, provenance
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise ValueError("aliases, which can grow without bounds")
        content = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException, OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path.name} is not readable YAML ({first_line(error)}); remove or repeat the run") from error
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(content, ensure_ascii=False).encode()  # halves of surrogate pairs could not be written
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path.name} is not readable JSON ({first_line(error)}); remove or repeat the run") from error
    if not isinstance(content, dict):
        raise UserError(f"{path.name} is not a JSON object; remove or repeat the run")
    return content
