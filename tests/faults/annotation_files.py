"""Annotation files of every format, as boxes and masks of `dataset=folder`, with each value faulty in turn."""

from collections.abc import Iterator

from tests.faults import templates
from tests.faults.case import Case
from tests.faults.file_faults import ANY, JSON_TEXTS, TEXT, XML_TEXTS, Fault, json_values, rows, void, xml_values


def cases() -> Iterator[Case]:
    """Yield a case for each file, fault and use."""
    for name in templates.annotations():
        uses = ("boxes",) if name in ("boxes.csv", "boxes.json", "boxes", "voc") else ("boxes", "masks")
        for use in uses:
            value = f"{name}:predictions" if name.startswith("label_studio") else name
            arguments = (
                *templates.PREPARE[2:],
                "dataset=folder",
                "dataset.root=classes",
                f"dataset.reader.{use}={value}",
            )
            for file, faults in files_of(name):
                for what, fault in faults.items():
                    yield Case(
                        f"annotation_files/{file}/{what}/{use}", "prepare", arguments, ("classes",),
                        lambda folder, file=file, fault=fault: fault(folder / "classes" / file),
                    )  # fmt: skip
    for separator, what in ((",", "table"),):
        arguments = (
            *templates.PREPARE[2:],
            "dataset=folder",
            "dataset.root=classes",
            "dataset.reader.labels=labels.csv",
        )
        for fault_name, fault in (ANY | TEXT | rows(separator)).items():
            yield Case(
                f"annotation_files/labels.csv/{fault_name}/{what}", "prepare", arguments, ("classes",),
                lambda folder, fault=fault: fault(folder / "classes/labels.csv"),
            )  # fmt: skip


def files_of(name: str) -> Iterator[tuple[str, dict[str, Fault]]]:
    """Yield the files of an annotation with their faults; of a folder, the first of each kind."""
    root = templates.where() / "classes"
    place = root / name
    seen: set[str] = set()
    for path in [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file()):
        kind = path.suffix
        if kind in seen:
            continue
        seen.add(kind)
        faults = ANY | TEXT
        if kind == ".json":
            faults |= JSON_TEXTS | json_values(path)
        elif kind == ".xml":
            faults |= XML_TEXTS | xml_values(path)
        elif kind == ".yaml":
            faults |= YAML
        else:
            faults |= rows("," if kind == ".csv" else " ")
        yield str(path.relative_to(root)), faults


YAML: dict[str, Fault] = {
    what: lambda path, text=text: void(path.write_text(text))
    for what, text in {
        "a list": "- 1\n", "a word": "word\n", "no names": "names:\n", "a number for names": "names: 3\n", "names of nonsense": "names: [[], {}]\n",
        "code": "names: !!python/object/apply:os.system ['touch executed.txt']\n",
        "growing anchors": "a0: &a0 [x,x]\n" + "".join(f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 12)) + "names: *a11\n",
        "an anchor in itself": "names: &a [*a]\n", "a tab": "names:\n\t- a\n", "two documents": "names: [a]\n---\nnames: [b]\n",
    }.items()
}  # fmt: skip
