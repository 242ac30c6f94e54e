"""Ranges of the numbers of a config, checked before anything is read or built, so that a mistake costs seconds."""

import math
import os
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from spg_lightning.errors import UserError
from spg_lightning.utils.limits import LARGEST_SIDE


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


SHOWN = 60  # characters of a value in a message
Rule = tuple[Callable[[Any], bool], str]  # the check, and the advice of its message


def _at_least(minimum: int) -> Rule:
    return lambda value: _is_whole(value) and value >= minimum, f"choose a whole number, {minimum} or more"


def _one_of_or(words: tuple[Any, ...], rule: Rule) -> Rule:
    listed = ", ".join("null" if word is None else str(word) for word in words)
    return lambda value: value in words or rule[0](value), f"{rule[1]}, or {listed}"


COUNT, POSITIVE = _at_least(0), _at_least(1)
FRACTION: Rule = (lambda value: _is_number(value) and 0 <= value <= 1, "choose a number from 0 to 1")
CRITERION: Rule = (lambda value: value in ("gt_known", "mean_iou"), "choose gt_known or mean_iou")
NOT_NEGATIVE: Rule = (lambda value: _is_number(value) and 0 <= value < math.inf, "choose a number, 0 or more")
# batches: 0.5 means half of them, 5 means five; True would mean one
BATCHES: Rule = (
    lambda value: _is_number(value) and value > 0 and (_is_whole(value) or value <= 1),
    "choose a whole number, 1 or more, or a fraction above 0 and up to 1.0",
)
SIDE: Rule = (
    lambda value: _is_whole(value) and 1 <= value <= LARGEST_SIDE,
    f"choose a whole number, 1 or more and at most {LARGEST_SIDE}",
)
LENGTH = _one_of_or((-1, None), POSITIVE)

FLAG: Rule = (lambda value: isinstance(value, bool), "choose true or false")
NODE: Rule = (OmegaConf.is_dict, "it has keys of its own; set those, or choose one of its config group")


def _each(rule: Rule) -> Rule:
    return lambda value: OmegaConf.is_list(value) and len(value) > 0 and all(map(rule[0], value)), rule[1]


NAMES: Rule = (
    lambda value: OmegaConf.is_list(value) and all(isinstance(entry, str) for entry in value),
    "choose a list of names, [a,b]",
)

NAME_MAX = 255  # bytes of a file's name; the system refuses longer ones without naming the key


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and all(len(os.fsencode(name)) <= NAME_MAX for name in value.split("/"))


PATH: Rule = (
    _is_path,
    f"choose a path; one that reads as a number begins with ./, and a name has at most {NAME_MAX} bytes",
)

COUNTS: Rule = (
    lambda value: OmegaConf.is_dict(value) and all(map(_is_whole, value.values())),
    "choose whole numbers by name, {train: 5994, test: 5794}",
)

RULES: dict[str, Rule] = {
    **dict.fromkeys(("output_dir", "runs", "source"), PATH),
    **dict.fromkeys(
        (
            "output",
            "maps",
            "metadata",
            "predictions",
            "val.maps",
            "val.metadata",
            "val.predictions",
            "root",
            "class_names",
            "merge_classes",
            "data.merge_classes",
        ),
        _one_of_or((None,), PATH),
    ),
    "pseudo_boxes": _one_of_or(
        (None,), (_is_path, "choose auto, always, or a file of rows <image id>,<x0>,<y0>,<x1>,<y1>")
    ),
    "page_maps": _one_of_or(("auto", None), NAMES),
    "trust": NAMES,
    "score_map.name": _one_of_or(
        (None,), (lambda value: isinstance(value, str) or NAMES[0](value), "choose a name, or a list of names")
    ),
    **dict.fromkeys(
        (
            "dataset.reader",
            "dataset.about",
            "stem",
            "stem.network",
            "method",
            "method.network",
            "data",
            "loss",
            "module",
            "trainer",
            "optimizer",
            "schedule",
            "callbacks",
            "fuse",
            "shared_weights",
            "val",
        ),
        NODE,
    ),
    "reference": _one_of_or((None,), (lambda value: isinstance(value, str), "choose a variant of the table")),
    "logger": _one_of_or((None,), NODE),
    **dict.fromkeys(("overwrite", "debug", "page", "save_maps", "quarantine", "per_map", "per_image", "private"), FLAG),
    "seed": (lambda value: _is_whole(value) and 0 <= value < 2**32, "choose a whole number from 0 to 4294967295"),
    "dataset.batch_size": POSITIVE,
    "dataset.max_epochs": POSITIVE,
    "dataset.resize": SIDE,
    "dataset.crop": SIDE,
    "dataset.published": _one_of_or((None,), COUNTS),
    "dataset.lr": NOT_NEGATIVE,
    "dataset.new_layers_lr_factor": NOT_NEGATIVE,
    "data.eval_batch_size": POSITIVE,
    "data.num_workers": _one_of_or(("auto",), COUNT),
    "module.num_thresholds": POSITIVE,
    "module.choose_by": CRITERION,
    "module.compile": (
        lambda value: value in (False, True, "reduce-overhead"),
        "choose false, true or reduce-overhead",
    ),
    "optimizer.momentum": FRACTION,
    "optimizer.betas": _each((lambda value: _is_number(value) and 0 <= value < 1, "choose numbers from 0 to below 1")),
    **{
        f"optimizer.{name}": NOT_NEGATIVE
        for name in ("lr", "new_layers_lr_factor", "bias_lr_factor", "weight_decay", "eps")
    },
    "schedule.warmup_fraction": FRACTION,
    "schedule.every_epochs": POSITIVE,
    "schedule.factor": NOT_NEGATIVE,
    **{f"thresholds.{branch}.{which}": FRACTION for branch in ("b2", "b1", "c") for which in ("high", "low")},
    **{f"loss.weights.{term}": NOT_NEGATIVE for term in ("cls", "b2", "b1", "c")},
    "seeds.high": FRACTION,
    "seeds.low": FRACTION,
    "training_free.side": SIDE,
    "training_free.image_side": SIDE,
    "training_free.threshold": _one_of_or((None,), FRACTION),
    "min_train_steps": COUNT,
    "trainer.max_epochs": LENGTH,
    "trainer.max_steps": LENGTH,
    "trainer.accumulate_grad_batches": POSITIVE,
    "trainer.log_every_n_steps": COUNT,
    **{f"trainer.limit_{part}_batches": BATCHES for part in ("train", "val", "test")},
    "trainer.num_nodes": POSITIVE,
    "gallery_images": COUNT,
    "report_images": COUNT,
    "keep_resume_state": (lambda value: isinstance(value, bool), "choose true or false"),
    "keep_checkpoints": (
        lambda value: value in ("all", "evaluated", "best_of_sweep"),
        "choose all, evaluated or best_of_sweep",
    ),
    "image_rows": (lambda value: value in ("chosen", "all"), "choose chosen or all"),
    "checkpoint_every_steps": _one_of_or(("auto",), POSITIVE),
    # evaluate, predict
    "eval_batch_size": POSITIVE,
    "num_workers": _one_of_or(("auto",), COUNT),
    "num_thresholds": POSITIVE,
    "choose_by": _one_of_or((None,), CRITERION),
    "crops": (lambda value: value in (None, 10), "choose 10, or null for the whole image alone"),
    "perturbation_steps": _one_of_or(
        (None,), (lambda value: _is_whole(value) and 0 < value <= 1000, "choose a whole number from 1 to 1000")
    ),
    "map_size": _one_of_or(("own",), SIDE),
    "batch_size": POSITIVE,
    "top_k": POSITIVE,
    "max_side": _one_of_or((None,), POSITIVE),
    "min_area": FRACTION,
    "min_presence": _one_of_or((None,), FRACTION),
    "threshold": _one_of_or((None,), FRACTION),
    "photos": COUNT,
    "crop": SIDE,
    "resize": SIDE,
}


def check_ranges(cfg: DictConfig) -> None:
    """Check every value that has a rule.

    Raises:
        UserError: names the first one that is out of its range.
    """
    for key, (is_valid, advice) in RULES.items():
        value = OmegaConf.select(cfg, key, default=...)
        if value is not ... and not is_valid(value):
            raise UserError(f"{key}={'null' if value is None else str(value)[:SHOWN]}: {advice}")
