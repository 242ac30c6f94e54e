"""What the numbers of a config may be: looked at before anything is read or built, so that a slip costs seconds."""

import math
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from spg_lightning.errors import UserError


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


Rule = tuple[Callable[[Any], bool], str]  # what fits, and how to say it


def _from(least: int) -> Rule:
    return lambda value: _whole(value) and value >= least, f"choose a whole number, {least} or more"


def _one_of_or(words: tuple[Any, ...], rule: Rule) -> Rule:
    told = ", ".join("null" if word is None else str(word) for word in words)
    return lambda value: value in words or rule[0](value), f"{rule[1]}, or {told}"


COUNT, POSITIVE = _from(0), _from(1)
SHARE: Rule = (lambda value: _number(value) and 0 <= value <= 1, "choose a number from 0 to 1")
NOT_NEGATIVE: Rule = (lambda value: _number(value) and 0 <= value < math.inf, "choose a number, 0 or more")
# of batches: 0.5 is half of them, 5 five; True would be one
SOME = (
    lambda value: _number(value) and value > 0 and (_whole(value) or value <= 1),
    "choose a whole number, 1 or more, or a share above 0 and up to 1.0",
)
LENGTH = _one_of_or((-1, None), POSITIVE)

RULES: dict[str, Rule] = {
    "seed": (lambda value: _whole(value) and 0 <= value < 2**32, "choose a whole number from 0 to 4294967295"),
    "dataset.batch_size": POSITIVE,
    "dataset.max_epochs": POSITIVE,
    "dataset.resize": POSITIVE,
    "dataset.crop": POSITIVE,
    "dataset.lr": NOT_NEGATIVE,
    "dataset.new_layers_lr_factor": NOT_NEGATIVE,
    "data.eval_batch_size": POSITIVE,
    "data.num_workers": _one_of_or(("auto",), COUNT),
    "module.num_thresholds": POSITIVE,
    "optimizer.momentum": SHARE,
    "optimizer.betas": (lambda value: _number(value) and 0 <= value < 1, "choose numbers from 0 to below 1"),
    **{
        f"optimizer.{name}": NOT_NEGATIVE
        for name in ("lr", "new_layers_lr_factor", "bias_lr_factor", "weight_decay", "eps")
    },
    "schedule.warmup_fraction": SHARE,
    "schedule.every_epochs": POSITIVE,
    "schedule.factor": NOT_NEGATIVE,
    **{f"thresholds.{branch}.{which}": SHARE for branch in ("b2", "b1", "c") for which in ("high", "low")},
    **{f"loss.weights.{term}": NOT_NEGATIVE for term in ("cls", "b2", "b1", "c")},
    "trainer.max_epochs": LENGTH,
    "trainer.max_steps": LENGTH,
    "trainer.accumulate_grad_batches": POSITIVE,
    "trainer.log_every_n_steps": COUNT,
    **{f"trainer.limit_{part}_batches": SOME for part in ("train", "val", "test")},
    "trainer.num_nodes": POSITIVE,
    "gallery_images": COUNT,
    "report_images": COUNT,
    "checkpoint_every_steps": _one_of_or(("auto",), POSITIVE),
    # evaluate, predict, benchmark
    "eval_batch_size": POSITIVE,
    "num_workers": COUNT,
    "num_thresholds": POSITIVE,
    "batch_size": POSITIVE,
    "top_k": POSITIVE,
    "warmup": COUNT,
    "repeats": POSITIVE,
    "steps": _one_of_or(("auto",), POSITIVE),
    "size": POSITIVE,
    "num_classes": POSITIVE,
    "photos": COUNT,
}


def check_ranges(cfg: DictConfig) -> None:
    """Look at every number that there is a rule for; of a list at each entry.

    Raises:
        UserError: the first one that is out of its range.
    """
    for key, (fits, what) in RULES.items():
        value = OmegaConf.select(cfg, key, default=...)
        for entry in value if OmegaConf.is_list(value) else [value]:
            if entry is not ... and not fits(entry):
                raise UserError(f"{key}={'null' if entry is None else entry}: {what}")
