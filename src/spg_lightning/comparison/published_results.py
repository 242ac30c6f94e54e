"""Look up the published figures of the same variants, and whether their data and network are ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from omegaconf import OmegaConf

from spg_lightning.comparison.runs import Run
from spg_lightning.comparison.variants import Variant, published_name


@dataclass(frozen=True)
class Published:
    """A published row of a variant.

    Attributes:
        variant: ours.
        source: paper and table.
        data: the data set and network of the publication.
        other: each of "data" and "network" in which our runs differ.
        numbers: metric -> published value.
    """

    variant: Variant
    source: str
    data: str
    other: tuple[str, ...]
    numbers: dict[str, float]

    @property
    def remark(self) -> str:
        """Whether the numbers can be compared with ours."""
        return f"other {' and '.join(self.other)}" if self.other else "same data and network"


def find_published(variants: Sequence[Variant]) -> list[Published]:
    """Return the published rows of each variant. Of several variants with one published name, the first is taken."""
    by_name = {published_name(variant.runs[0]): variant for variant in reversed(variants)}
    found = []
    for name, variant in reversed(by_name.items()):
        run = variant.runs[0]
        for table in _nearest_tables(run):
            data = f"{table['data']}; {table['stem'] or 'network not stated'}"
            for row in table["rows"]:
                if row["variant"] == name:
                    numbers = {key: value for key, value in row.items() if key != "variant"}
                    found.append(Published(variant, table["source"], data, _differing(run, table), numbers))
    return found


def _nearest_tables(run: Run) -> list[dict[str, Any]]:
    """Return the tables. Of a source with one table per stem, return that of the run's stem, or else the first."""
    by_source: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for table in _tables():
        methods = (str(row["variant"]).split()[0] for row in table["rows"])
        by_source.setdefault((table["source"], table["dataset"], *methods), []).append(table)
    stem = run.config.get("stem.name")
    return [next((t for t in tables if t["stem"] == stem), tables[0]) for tables in by_source.values()]


def _differing(run: Run, table: dict[str, Any]) -> tuple[str, ...]:
    num_test = (run.provenance.get("photos") or {}).get("test")
    differs = {
        "data": (run.config.get("dataset.name"), num_test) != (table["dataset"], table["test_photos"]),
        "network": run.config.get("stem.name") != table["stem"],
    }
    return tuple(name for name, is_other in differs.items() if is_other)


@cache
def _tables() -> list[dict[str, Any]]:
    with (files("spg_lightning.comparison") / "published_results.yaml").open(encoding="utf-8") as file:
        tables = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(tables, list)
    return tables
