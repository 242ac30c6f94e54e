"""What papers print for the same variants, and whether their data is ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from omegaconf import OmegaConf

from spg_lightning.study.presets import TITLES
from spg_lightning.study.runs import Run
from spg_lightning.study.variants import Variant, canonical


@dataclass(frozen=True)
class PublishedRow:
    """A printed row: its method and switches, where it stands and what it was measured on, its numbers."""

    title: str
    settings: str
    source: str
    numbers: dict[str, float]


def published_rows(variants: Sequence[Variant]) -> list[PublishedRow]:
    """Return the printed rows of the variants that were run, variant by variant."""
    first = {name: v.runs[0] for v in reversed(variants) if (name := canonical(v.runs[0]))}
    found = []
    for name, run in reversed(first.items()):
        for table in _tables():
            for row in table["rows"]:
                if row["variant"] != name:
                    continue
                method, *switches = name.split(" ")
                source = f"{table['source']}: {table['data']}, {table['stem'] or 'network not stated'}"
                if other := _others(run, table):
                    source += f" (other {' and '.join(other)})"
                numbers = {key: value for key, value in row.items() if key != "variant"}
                found.append(PublishedRow(TITLES[method], " ".join(switches), source, numbers))
    return found


def _others(run: Run, table: dict[str, Any]) -> list[str]:
    """Say in what a printed table differs from a run: another data set or a share of it, another stem."""
    photos = run.facts.get("photos")
    data = (run.config.get("dataset.name"), photos.get("test") if isinstance(photos, dict) else None)
    other = {
        "data": data != (table["dataset"], table["test_photos"]),
        "network": run.config.get("stem.name") != table["stem"],
    }
    return [name for name, differs in other.items() if differs]


@cache
def _tables() -> list[dict[str, Any]]:
    with (files("spg_lightning.study") / "published.yaml").open(encoding="utf-8") as file:
        read = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(read, list)
    return read
