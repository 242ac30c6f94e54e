"""Group runs into variants. The runs of a variant have the same name and data, and differ in the seed alone."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spg_lightning.comparison.runs import Run
from spg_lightning.errors import UserError, nearest
from spg_lightning.utils.config_keys import identifies_variant

TITLES = {
    "spg": "SPG", "spg_plain": "SPG-plain", "cam": "CAM", "has": "HaS", "cutmix": "CutMix", "adl": "ADL", "acol": "ACoL",
}  # fmt: skip
ABLATION_GROUPS = ("guidance", "shared_weights", "fuse", "thresholds")


@dataclass(frozen=True)
class Variant:
    """Runs that differ in the seed alone.

    Attributes:
        title: of the method.
        settings: the overrides that set it apart from the other variants. Numbers that vary are always among them.
        values: each key in which the variants differ -> a number, an override, or None for the default.
        data: the data set.
        runs: one per seed, in the order of the seeds.
    """

    title: str
    settings: tuple[str, ...]
    values: dict[str, Any]
    data: str
    runs: tuple[Run, ...]

    @property
    def label(self) -> str:
        """The name in plots and lists."""
        return label_of(self.title, self.settings)

    @property
    def names(self) -> set[str]:
        """Every name that `reference=` accepts."""
        return {self.label, self.title, " ".join(self.settings)} - {""}

    @property
    def is_default(self) -> bool:
        """Whether it has no override that another variant lacks."""
        return not {word.partition("=")[0] for word in self.runs[0].variant} & set(self.values)

    def by_seed(self) -> dict[Any, Run]:
        """Return seed -> run."""
        return {run.seed: run for run in self.runs}


def label_of(title: str, settings: Sequence[str]) -> str:
    """Return the title and the settings with the last two parts of their keys. The title already names the method."""
    pairs = [word.partition("=") for word in settings if not word.startswith("method=")]
    return " ".join([title, *(f"{'.'.join(key.split('.')[-2:])}{equals}{value}" for key, equals, value in pairs)])


def group_runs(runs: Sequence[Run]) -> tuple[list[Variant], list[str]]:
    """Return the variants, ordered by method and values, and a line for each run that was left out.

    The newest of several runs with the same seed counts.
    """
    runs = _with_image_counts(runs)
    keys = sorted({word.partition("=")[0] for run in runs for word in run.variant})
    keys = [key for key in keys if len({_value(run, key) for run in runs}) > 1]
    groups: dict[tuple[Any, ...], dict[Any, Run]] = {}
    left_out = []
    for run in sorted(runs, key=lambda run: str(run.provenance.get("started"))):
        identity = (run.config.get("method.name"), run.data, *(_value(run, key) for key in keys))
        seeds = groups.setdefault(identity, {})
        if older := seeds.get(run.seed):
            left_out.append(f"{older.name}: same settings and seed as {run.name}, and older")
        seeds[run.seed] = run
    variants = []
    short = _without_folders({value for identity in groups for value in identity[2:] if isinstance(value, str)})
    for (method, data, *values), seeds in groups.items():
        named = dict(zip(keys, values, strict=True))
        settings = tuple(f"{key}={v:g}" if is_number(v) else short[v] for key, v in named.items() if v is not None)
        ordered = tuple(seeds[seed] for seed in sorted(seeds, key=lambda seed: (str(type(seed)), seed)))
        variants.append(Variant(TITLES.get(method, str(method)), settings, named, data, ordered))
    return sorted(variants, key=_order), left_out


def _without_folders(words: Collection[str]) -> dict[str, str]:
    """Return override -> the override with the file's name in place of an absolute path, where that tells them apart."""
    short = {word: re.sub(r"=/[^,\[\]]*/", "=", word) for word in words}
    return {word: name if [*short.values()].count(name) == 1 else word for word, name in short.items()}


def _with_image_counts(runs: Sequence[Run]) -> list[Run]:
    """Add the numbers of images to data and variant of the runs, if data sets of one name differ in them."""
    counts = {run.name: str(list((run.provenance.get("photos") or {}).values())).replace(" ", "") for run in runs}
    if len({run.data for run in runs}) == len({(run.data, counts[run.name]) for run in runs}):
        return list(runs)
    return [
        replace(
            run, data=f"{run.data}, {counts[run.name]} images", variant=(*run.variant, f"images={counts[run.name]}")
        )
        for run in runs
    ]


def _value(run: Run, key: str) -> Any:
    """Return the number a run has for a key, or else its override, or None for the default."""
    number = run.config.get(key)
    return number if is_number(number) else next((word for word in run.variant if word.partition("=")[0] == key), None)


def _order(variant: Variant) -> tuple[int, int, list[tuple[bool, Any]]]:
    """Order by method, number of switches, switches, and numbers by size."""
    titles, values = list(TITLES.values()), variant.values.values()
    method = titles.index(variant.title) if variant.title in titles else len(titles)
    switches = sum(isinstance(value, str) for value in values)
    return method, switches, [(not is_number(value), "" if value is None else value) for value in values]


def is_number(value: Any) -> bool:
    """Return whether a value is a number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def reference_of(variants: Sequence[Variant], wanted: str | None) -> Variant:
    """Return the variant with the wanted name. By default SPG without overrides, or else the first variant.

    Raises:
        UserError: no variant, or several, have that name.
    """
    if wanted is None:
        return next((v for v in variants if v.is_default and v.title == TITLES["spg"]), variants[0])
    found = [v for v in variants if wanted == v.label] or [v for v in variants if wanted in v.names]
    if len(found) == 1:
        return found[0]
    hint = nearest(wanted, {name for v in variants for name in v.names})
    raise UserError(
        f"reference={wanted} names {'several variants' if found else 'no variant'}; "
        f"choose from {'; '.join(v.label for v in variants)}.{hint}"
    )


def published_name(run: Run) -> str | None:
    """Return the name that published figures of the same method and ablation have, as "spg fuse=off"."""
    method = run.config.get("method.name")
    if method != "spg":
        return method
    words = {word.partition("=")[0]: word for word in run.variant}
    changed = any(key.startswith(f"{group}.") for key in words for group in ABLATION_GROUPS)
    if changed or not all("=" in word or word.startswith("~") for word in run.variant):  # or the user's own name
        return None
    return " ".join(["spg", *(words[group] for group in ABLATION_GROUPS if group in words)])


def inconsistent_settings(variants: Sequence[Variant]) -> list[str]:
    """Return a line for each run whose config differs from that of the same variant's first run, as other versions' may."""
    lines = []
    for first, *others in (variant.runs for variant in variants):
        for run in others:
            common = [key for key in first.config.keys() & run.config.keys() if identifies_variant(key)]
            keys = sorted(
                key for key in common if first.config[key] != run.config[key] and "/" not in str(run.config[key])
            )
            if keys:
                values = f"{keys[0]}={run.config[keys[0]]}, {first.name} has {first.config[keys[0]]}"
                lines.append(f"{run.name} has {values}" + (f", and {len(keys) - 1} more" if keys[1:] else ""))
    return lines
