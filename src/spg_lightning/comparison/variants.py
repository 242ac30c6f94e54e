"""Which runs are the same but for the seed, and what to call them: by what differs between their configs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spg_lightning.comparison.keys import choice_of, default_of, is_number, named, shown, shown_value, value_of, varying
from spg_lightning.comparison.presets import TITLES, groups, text_of
from spg_lightning.comparison.runs import Run
from spg_lightning.errors import UserError, nearest

PHOTOS = "dataset.photos"  # counts of train, val and test, where runs of one data set's name have others


@dataclass(frozen=True)
class Variant:
    """Runs that differ in the seed alone.

    Attributes:
        title: of the method.
        settings: the overrides that set it apart from the defaults, and every number that varies.
        values: varying key -> value.
        runs: one a seed, in the order of the seeds.
        default: whether every varying key has the value it has by default.
    """

    title: str
    settings: tuple[str, ...]
    values: dict[str, Any]
    runs: tuple[Run, ...]
    default: bool

    @property
    def label(self) -> str:
        """Return the one name for plots and lists."""
        return label_of(self.title, self.settings)

    @property
    def names(self) -> set[str]:
        """Return what a user may call it."""
        return {self.label, self.title, " ".join(self.settings)} - {""}

    @property
    def data(self) -> str:
        """Return the name of its data set."""
        name = str(self.runs[0].config.get("dataset.name"))
        return f"{name}, {self.values[PHOTOS]} photos" if PHOTOS in self.values else name

    def by_seed(self) -> dict[Any, Run]:
        """Return seed -> run."""
        return {run.seed: run for run in self.runs}


def label_of(title: str, settings: Sequence[str]) -> str:
    """Return title and settings; the title says which method it is."""
    words = [word for word in settings if not word.startswith("method=")]
    # of a long key the last two parts are enough to tell it
    return " ".join([title, *(f"{'.'.join(key.split('.')[-2:])}={value}" for key, _, value in map(_split, words))])


def variants_of(runs: Sequence[Run]) -> tuple[list[Variant], list[str]]:
    """Return the variants, ordered by method and values, and what was left out.

    A seed that was run twice counts once, with its newest run.
    """
    counts = [text_of(list((run.facts.get("photos") or {}).values())) for run in runs]
    # one name, but not one data set: roots do not tell runs apart, as they are another on every machine
    differ = len({run.config.get("dataset.name") for run in runs}) < len(
        {(run.config.get("dataset.name"), c) for run, c in zip(runs, counts, strict=True)}
    )
    configs = [named(run.config, runs) | ({PHOTOS: c} if differ else {}) for run, c in zip(runs, counts, strict=True)]
    left_out = []
    keys = varying(configs)
    by_values: dict[tuple[Any, ...], dict[Any, Run]] = {}
    for run, config in sorted(zip(runs, configs, strict=True), key=lambda pair: str(pair[0].facts.get("started"))):
        seeds = by_values.setdefault(tuple(value_of(config, key) for key in keys), {})
        if older := seeds.get(run.seed):
            left_out.append(f"{older.name}: same settings and seed as {run.name}, and older")
        seeds[run.seed] = run
    variants = []
    for values, seeds in by_values.items():
        of_key = dict(zip(keys, values, strict=True))
        of_seeds = tuple(seeds[seed] for seed in sorted(seeds, key=lambda s: (str(type(s)), s)))
        method = str(of_seeds[0].config.get("method.name", ""))
        told = {key: value for key, value in of_key.items() if is_number(value) or value != default_of(key)}
        settings = tuple(f"{shown(key)}={shown_value(key, value)}" for key, value in told.items())
        is_default = all(default_of(key) in (value, ...) for key, value in of_key.items())
        variants.append(Variant(TITLES.get(method, method), settings, of_key, of_seeds, is_default))
    return sorted(variants, key=_order), left_out


def reference_of(variants: Sequence[Variant], wanted: str | None) -> Variant:
    """Return the variant that others are compared with: the one named, else SPG with the defaults, else the first.

    Raises:
        UserError: no variant, or several, have that name.
    """
    if wanted is None:
        plain = [v for v in variants if v.default and v.title == TITLES["spg"]]
        return (plain or list(variants))[0]
    named = [v for v in variants if wanted == v.label] or [v for v in variants if wanted in v.names]
    if len(named) == 1:
        return named[0]
    labels = [v.label for v in variants]
    told = f"choose from {'; '.join(labels)}.{nearest(wanted, {n for v in variants for n in v.names})}"
    raise UserError(f"reference={wanted} names {'several variants' if named else 'no variant'}; {told}")


def canonical(run: Run) -> str | None:
    """Return which of the published variants a run is ("spg_plain", "spg fuse=off"), by method and paper's switches."""
    method = run.config.get("method.name")
    if method != "spg":
        return method
    words = ["spg"]
    for group in ("guidance", "shared_weights", "fuse", "thresholds"):
        choice = choice_of(group, run.config)
        if choice is None:
            return None
        if choice != groups().get(group):
            words.append(f"{group}={choice}")
    return " ".join(words)


def _split(word: str) -> tuple[str, str, str]:
    return word.partition("=")


def _order(variant: Variant) -> tuple[int, int, list[tuple[bool, Any]]]:
    """Order by method, then the defaults, single switches, several; numbers by size."""
    method = list(TITLES.values()).index(variant.title) if variant.title in TITLES.values() else len(TITLES)
    switched = sum(not is_number(v) and v != default_of(key) for key, v in variant.values.items())
    values = [v for key, v in variant.values.items() if shown(key) != "method"]
    return method, switched, [(not is_number(v), v if is_number(v) else text_of(v)) for v in values]
