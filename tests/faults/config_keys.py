"""Every key of every command's config, with values that are of another type, out of range, no number, or hostile."""

from collections.abc import Iterator
from typing import Any

from omegaconf import OmegaConf

from spg_lightning import compose
from tests.faults import templates
from tests.faults.case import Case

VALUES = {
    "null": "null", "true": "true", "word": "qwertz", "empty": "''", "zero": "0", "minus one": "-1", "half": "0.5",
    "2.5": "2.5", "1e308": "1e308", "nan": "nan", "inf": "inf", "minus inf": "-inf", "twenty digits": "99999999999999999999",
    "unicode": "'naïve ☃ 鳥'", "numbers": "[1,2]", "empty list": "[]", "mapping": "{a:1}", "empty mapping": "{}",
    "interpolation": "${nothing}", "itself": "${%s}", "missing": "???", "several": "0,1", "path": "../../nowhere/else",
    "two lines": "'two\nlines'", "open quote": "'", "open bracket": "[1", "not UTF-8": "\udcff", "long": "x" * 5000,
}  # fmt: skip
COMMANDS = {
    "train": (templates.TRAIN, ("cub",)),
    "evaluate": (templates.EVALUATE, ("cub", "run")),
    "evaluate maps": (templates.MAPS, ("maps",)),
    "predict": (templates.PREDICT, ("photos", "run")),
    "prepare": (templates.PREPARE, ("cub",)),
    "report": (templates.REPORT, ("runs",)),
    "export": (templates.EXPORT, ("run",)),
    "push": (templates.PUSH, ("run",)),
    "convert": (templates.CONVERT, ("published.pth",)),
}
# legal values that begin other processes, wait for other machines, or train for ever
PROCESSES = ("trainer.devices", "trainer.num_nodes")
# names of folders and files, which the judge would find outside the output folder
OUTPUTS, NAMES = ("output_dir", "output", "to", "logger.save_dir"), ("word", "unicode", "path")
ENDLESS = ("max_epochs", "max_steps", "min_train_steps")


def cases() -> Iterator[Case]:
    """Yield a case for each command, key and value."""
    for name, (arguments, inputs) in COMMANDS.items():
        command = name.split()[0]
        for key in keys_of(command, arguments):
            for what, value in VALUES.items():
                if is_left_out(key, what):
                    continue
                text = value % key if what == "itself" else value
                yield Case(
                    f"config_keys/{name}/{key}/{what}", command, arguments, inputs, faulty=(f"{key}={text}",), names=words_of(key, text),
                )  # fmt: skip


def is_left_out(key: str, what: str) -> bool:
    """Return whether a value is legal but not for a test."""
    return key in PROCESSES or (key in OUTPUTS and what in NAMES) or (key.endswith(ENDLESS) and what == "twenty digits")


def words_of(key: str, text: str) -> tuple[str, ...]:
    """Return what the line of an error may call a key by: its name, that of its node, or the value."""
    parts = key.split(".")
    return (*parts[-2:], text.strip("'"))


def keys_of(command: str, arguments: tuple[str, ...]) -> list[str]:
    """Return every dotted key of a command's config, nodes included."""
    cfg = compose(command, [*arguments])
    return sorted(_walk(OmegaConf.to_container(cfg, resolve=False), ""))


def _walk(node: Any, prefix: str) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield f"{prefix}{name}"
            yield from _walk(value, f"{prefix}{name}.")
