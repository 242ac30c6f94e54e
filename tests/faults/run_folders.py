"""Run folders with faulty files, for `report`; unfinished predictions, for `predict`; runs to resume, for `train`."""

from collections.abc import Iterator

from tests.faults import templates
from tests.faults.case import Case
from tests.faults.file_faults import ANY, JSON_TEXTS, JSON_VALUES, TEXT, Fault, json_values, rows, void

YAML: dict[str, Fault] = {
    what: lambda path, text=text: void(path.write_text(text))
    for what, text in {
        "a list": "- 1\n", "a word": "word\n", "code": "a: !!python/object/apply:os.system ['touch executed.txt']\n", "a tab": "a:\n\t- b\n",
        "an interpolation": "method: ${nothing}\nseed: ${seed}\nvariant: []\n", "numbers for keys": "1: 2\nmethod: 3\nseed: 4\nvariant: []\n",
        "an empty variant": "method: {}\nseed: {}\nvariant: []\n", "a deep variant": "method: {}\nseed: 0\nvariant: [[1], {a: 2}, null]\n",
        "growing anchors": "a0: &a0 [x,x]\n" + "".join(f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 9)),
        "NaN": "method: {name: spg}\nseed: .nan\nvariant: [a]\ndataset: {name: .inf}\n",
    }.items()
}  # fmt: skip


def cases() -> Iterator[Case]:
    """Yield a case for each file of a run folder and each fault."""
    run = templates.where() / "runs/spg-0"
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        faults = dict(ANY)
        if path.suffix != ".png":
            faults |= TEXT
        if path.suffix == ".json":
            faults |= JSON_TEXTS | _few(json_values(path))
        elif path.suffix == ".csv":
            faults |= rows(",")
        elif path.suffix == ".yaml":
            faults |= YAML
        file = path.relative_to(run).as_posix()
        for what, fault in faults.items():
            yield Case(
                f"run_folders/report/{file}/{what}", "report", templates.REPORT, ("runs",),
                lambda folder, file=file, fault=fault: fault(folder / "runs/spg-0" / file),
            )  # fmt: skip


def _few(faults: dict[str, Fault]) -> dict[str, Fault]:
    """Return the faults of a few values: the many metrics of a run are of one kind."""
    places = list(dict.fromkeys(what.rsplit(" ", 1)[0] for what in faults))
    kept = {what: fault for what, fault in faults.items() if "val/" not in what or "val/gt" in what}
    return kept if len(places) < 30 else dict(list(kept.items())[: 8 * (len(JSON_VALUES) + 1)])
