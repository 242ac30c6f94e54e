"""Which runs are the same but for the seed, and what to call them: by what differs between their configs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spg_lightning.errors import UserError, nearest
from spg_lightning.study.presets import TITLES, choices, defaults, groups, refers, text_of
from spg_lightning.study.runs import Run

# where a run was made, written and watched, not what it computes
IGNORED = (
    "seed", "debug", "logger", "callbacks", "hydra", "output_dir", "gallery_images", "report_images", "data.seed",
    "trainer.devices", "trainer.accelerator", "trainer.num_nodes", "trainer.strategy", "trainer.log_every_n_steps",
    "trainer.enable_progress_bar", "trainer.enable_model_summary",
)  # fmt: skip
IGNORED_ENDS = ("root", "num_workers", "eval_batch_size", "default_root_dir")


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
        return str(self.runs[0].config.get("dataset.name"))

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
    configs = [_named(run.config, runs) for run in runs]
    left_out = []
    keys = _varying(configs)
    by_values: dict[tuple[Any, ...], dict[Any, Run]] = {}
    for run, config in sorted(zip(runs, configs, strict=True), key=lambda pair: str(pair[0].facts.get("started"))):
        seeds = by_values.setdefault(tuple(_value(config, key) for key in keys), {})
        if older := seeds.get(run.seed):
            left_out.append(f"{older.name}: same settings and seed as {run.name}, and older")
        seeds[run.seed] = run
    variants = []
    for values, seeds in by_values.items():
        of_key = dict(zip(keys, values, strict=True))
        of_seeds = tuple(seeds[seed] for seed in sorted(seeds, key=lambda s: (str(type(s)), s)))
        method = str(of_seeds[0].config.get("method.name", ""))
        told = {key: value for key, value in of_key.items() if is_number(value) or value != _default(key)}
        settings = tuple(f"{_shown(key)}={_text(key, value)}" for key, value in told.items())
        is_default = all(_default(key) in (value, ...) for key, value in of_key.items())
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


def choice_of(group: str, config: dict[str, Any]) -> str | None:
    """Return the name of the group's choice that a config has, where it has one exactly."""
    prefix = f"{group}."
    node = {key: value for key, value in config.items() if key.startswith(prefix)}
    return next((name for name, keys in choices(group).items() if keys == node), None)


def is_number(value: Any) -> bool:
    """Tell whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _named(config: dict[str, Any], runs: Sequence[Run]) -> dict[str, Any]:
    """Put a group's choice in the place of its keys, where that says more: not for one or two numbers that differ."""
    named = dict(config)
    for group in groups():
        keys = {key for run in runs for key in run.config if key.startswith(f"{group}.")}
        varying = [key for key in keys if len({run.config.get(key) for run in runs}) > 1]
        numeric = all(is_number(run.config.get(key)) for key in varying for run in runs)
        if not varying or (numeric and len(varying) <= 2) or not all(choice_of(group, run.config) for run in runs):
            continue
        named = {key: value for key, value in named.items() if key not in keys} | {group: choice_of(group, config)}
    return named


def _varying(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Return the keys that tell the runs apart, without those that only follow from others."""
    keys = [key for key in dict.fromkeys(key for config in configs for key in config) if not _ignored(key)]
    keys = [key for key in keys if len({_value(config, key) for config in configs}) > 1]
    names = [key for key in keys if _shown(key) in groups()]
    written = [key for key in keys if key not in names and not refers(key)]
    kept = list(names)
    for key in written:
        group = key.split(".")[0]
        if not any(_shown(name) == group for name in names) or not _follows(key, names, configs):
            kept.append(key)
    for key in keys:
        if key not in kept and key not in written and not _follows(key, kept, configs):
            kept.append(key)
    # an order that does not depend on which run was found first
    return sorted(kept, key=lambda key: (list(groups()).index(g) if (g := key.split(".")[0]) in groups() else 99, key))


def _follows(key: str, others: Sequence[str], configs: Sequence[dict[str, Any]]) -> bool:
    """Tell whether the others' values determine the key's value, in all the runs."""
    seen = {tuple(_value(config, name) for name in [*others, key]) for config in configs}
    return len(seen) == len({values[:-1] for values in seen})


def _ignored(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in IGNORED) or key.split(".")[-1] in IGNORED_ENDS


def _value(config: dict[str, Any], key: str) -> Any:
    """Return a value; where the run was made before the key was, the default."""
    return config[key] if key in config else defaults().get(key)


def _default(key: str) -> Any:
    """Return what a key is by default; ... where that is not written down, as it follows from others."""
    return groups().get(key) if key in groups() else defaults().get(key, ...)


def _shown(key: str) -> str:
    """Return a key as one would override it: a group's name or target is the group's choice."""
    group, _, last = key.partition(".")
    return group if last in ("name", "_target_") else key


def _text(key: str, value: Any) -> str:
    return text_of(value).rsplit(".", 1)[-1] if key.endswith("._target_") else text_of(value)


def _split(word: str) -> tuple[str, str, str]:
    return word.partition("=")


def _order(variant: Variant) -> tuple[int, int, list[tuple[bool, Any]]]:
    """Order by method, then the defaults, single switches, several; numbers by size."""
    method = list(TITLES.values()).index(variant.title) if variant.title in TITLES.values() else len(TITLES)
    switched = sum(not is_number(v) and v != _default(key) for key, v in variant.values.items())
    values = [v for key, v in variant.values.items() if _shown(key) != "method"]
    return method, switched, [(not is_number(v), v if is_number(v) else text_of(v)) for v in values]
