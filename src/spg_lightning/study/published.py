"""What papers print for the same variants, and whether their data is ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from omegaconf import OmegaConf

from spg_lightning.study.presets import TITLES
from spg_lightning.study.variants import Variant, canonical


@dataclass(frozen=True)
class PublishedRow:
    """A printed row: its method and switches, where it stands, what it was measured on, its numbers."""

    title: str
    settings: str
    source: str
    data: str
    stem: str | None
    same: bool  # data and stem as the runs'
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
                photos = run.facts.get("photos")
                same = (
                    run.config.get("dataset.name") == table["dataset"]
                    and isinstance(photos, dict)
                    and photos.get("test") == table["test_photos"]
                    and run.config.get("stem.name") == table["stem"]
                )
                numbers = {key: value for key, value in row.items() if key != "variant"}
                found.append(
                    PublishedRow(
                        TITLES[method], " ".join(switches), table["source"], table["data"], table["stem"], same, numbers
                    )
                )
    return found


@cache
def _tables() -> list[dict[str, Any]]:
    with (files("spg_lightning.study") / "published.yaml").open(encoding="utf-8") as file:
        read = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(read, list)
    return read
