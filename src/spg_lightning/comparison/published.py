"""What papers print for the same variants, and whether their data is ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from omegaconf import OmegaConf

from spg_lightning.comparison.runs import Run
from spg_lightning.comparison.variants import Variant, canonical


@dataclass(frozen=True)
class Published:
    """A printed row of a variant that was run.

    Attributes:
        variant: ours.
        source: paper and table. data: what it was measured on, and with which network.
        other: what is not the same in our runs: "data", "network".
        numbers: metric -> printed value.
    """

    variant: Variant
    source: str
    data: str
    other: tuple[str, ...]
    numbers: dict[str, float]

    @property
    def remark(self) -> str:
        """Say in one phrase whether the numbers can be compared."""
        return f"other {' and '.join(self.other)}" if self.other else "same data and network"


def published_of(variants: Sequence[Variant]) -> list[Published]:
    """Return the printed rows of the variants, variant by variant; of variants with one name the first is taken."""
    seen: set[str] = set()
    found = []
    for variant in variants:
        name = canonical(variant.runs[0])
        if name is None or name in seen:
            continue
        seen.add(name)
        for table in _nearest(variant.runs[0]):
            data = f"{table['data']}; {table['stem'] or 'network not stated'}"
            for row in table["rows"]:
                if row["variant"] == name:
                    numbers = {key: value for key, value in row.items() if key != "variant"}
                    found.append(Published(variant, table["source"], data, _other(variant.runs[0], table), numbers))
    return found


def _nearest(run: Run) -> list[dict[str, Any]]:
    """Return the tables; of a source that has one a stem, the one of the run's stem, or else the first."""
    stem = run.config.get("stem.name")
    by_source: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for table in _tables():
        methods = tuple(str(row["variant"]).split()[0] for row in table["rows"])
        by_source.setdefault((table["source"], table["dataset"], *methods), []).append(table)
    return [next((t for t in tables if t["stem"] == stem), tables[0]) for tables in by_source.values()]


def _other(run: Run, table: dict[str, Any]) -> tuple[str, ...]:
    """Say in what a printed table differs from a run: another data set or a share of it, another stem."""
    photos = run.facts.get("photos")
    data = (run.config.get("dataset.name"), photos.get("test") if isinstance(photos, dict) else None)
    differs = {
        "data": data != (table["dataset"], table["test_photos"]),
        "network": run.config.get("stem.name") != table["stem"],
    }
    return tuple(name for name, there in differs.items() if there)


@cache
def _tables() -> list[dict[str, Any]]:
    with (files("spg_lightning.comparison") / "published.yaml").open(encoding="utf-8") as file:
        read = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(read, list)
    return read
