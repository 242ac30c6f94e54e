"""Surroundings that programs forget: no home, folders that cannot be written, locale C, names with spaces and brackets."""

from collections.abc import Iterator
from pathlib import Path

from tests.faults import templates
from tests.faults.case import Case

FOLDERS = ("a b", "a[b]", "a,b", "a=b", "a'b", 'a"b', "a{b}", "naïve ☃", "$HOME", "a#b", "-a", "a\\b", "a:b", "a(b)", "a%sb", "~a", "a\nb", "x" * 250)  # fmt: skip
COMMANDS = {
    "train": (templates.TRAIN, ("cub",), "dataset.root=cub"),
    "evaluate": (templates.EVALUATE, ("cub", "run"), "root=cub"),
    "evaluate maps": (templates.MAPS, ("maps",), "maps=maps/maps"),
    "predict": (templates.PREDICT, ("photos", "run"), "images=photos"),
    "prepare": (templates.PREPARE, ("cub",), "dataset.root=cub"),
    "report": (templates.REPORT, ("runs",), "runs=runs"),
    "push": (templates.PUSH, ("run",), "checkpoint=run/checkpoints/last.ckpt"),
    "export": (templates.EXPORT, ("run",), "checkpoint=run/checkpoints/last.ckpt"),
}
FRESH = ("predict", "prepare", "report")  # a new interpreter for each case takes ten seconds
VARIABLES: dict[str, dict[str, str | None]] = {
    "no home": {"HOME": None, "XDG_CACHE_HOME": None},
    "a home that does not exist": {"HOME": "/nonexistent"},
    "a home that is a file": {"HOME": "/dev/null"},
    "locale C": {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "locale of nonsense": {"LC_ALL": "xx_YY.nonsense"},
    "output in ASCII": {"PYTHONIOENCODING": "ascii"},
    "no folder for temporary files": {"TMPDIR": "/nonexistent"},
    "a narrow terminal": {"COLUMNS": "1", "LINES": "1"},
    "a terminal of nonsense": {"COLUMNS": "wide", "TERM": "nonsense"},
    "a cache that is a file": {"SPG_LIGHTNING_CACHE": "/dev/null"},
    "a relative cache": {"SPG_LIGHTNING_CACHE": "home/cache"},
    "debugging of Hydra": {"HYDRA_FULL_ERROR": "0"},
    "threads of nonsense": {"OMP_NUM_THREADS": "many"},
}


def cases() -> Iterator[Case]:
    """Yield a case for each command and surrounding."""
    for name, (arguments, inputs, word) in COMMANDS.items():
        command = name.split()[0]
        for what, variables in VARIABLES.items() if name in FRESH else ():
            yield Case(
                f"environment/{name}/{what}",
                command,
                arguments,
                inputs,
                environment=variables,
                fresh=True,
                must="succeed",
            )
        key, _, path = word.partition("=")
        for folder_name in FOLDERS:
            yield Case(
                f"environment/{name}/input below {folder_name[:20]!r}", command, arguments, inputs,
                lambda folder, path=path, folder_name=folder_name: link(folder, folder_name), (f"{key}={folder_name}/{path}",),
            )  # fmt: skip
            yield Case(
                f"environment/{name}/output below {folder_name[:20]!r}", command, arguments, inputs, faulty=(f"output_dir=out/{folder_name}",)
            )  # fmt: skip
        for what, output in {
            "a file": "out/kept.txt",
            "below a file": "out/kept.txt/a",
            "in proc": "/proc/a",
            "a device": "/dev/null",
            "too long": "out/" + "x" * 300,
        }.items():
            yield Case(
                f"environment/{name}/output {what}",
                command,
                arguments,
                inputs,
                faulty=(f"output_dir={output}",),
                must="fail",
            )


def link(folder: Path, name: str) -> None:
    """Make the case's folder known by another name inside itself."""
    (folder / name).symlink_to(".")
