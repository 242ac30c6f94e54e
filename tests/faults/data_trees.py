"""Data sets of every layout, with each file faulty in turn, for `prepare` and `train`."""

from collections.abc import Iterator

from tests.faults import templates
from tests.faults.case import Case
from tests.faults.file_faults import ANY, TEXT, Fault, rows
from tests.faults.photos import PHOTOS

LAYOUTS = {
    "cub": (),
    "ilsvrc": (),
    "benchmark": (),
    "mask_benchmark": ("dataset=benchmark", "dataset.reader.masks=mask_benchmark/masks"),
    "classes": ("dataset=folder", "dataset.reader.boxes=boxes.csv"),
}
ANNOTATIONS = ("boxes", "coco.json", "cvat.xml", "label_studio", "yolo", "voc")  # see annotation_files
SHOWN = 2  # pictures of a data set that become faulty


def cases() -> Iterator[Case]:
    """Yield a case for each layout, file and fault."""
    for name, more in LAYOUTS.items():
        for command, base in (("prepare", templates.PREPARE), ("train", templates.TRAIN)):
            own = more or (f"dataset={name}",)
            kept = [word for word in base if not word.startswith(("dataset=", "dataset.root="))]
            arguments = (*own, f"dataset.root={name}", *kept)
            for file, faults in files_of(name):
                for what, fault in faults.items():
                    yield Case(
                        f"data_trees/{name}/{file}/{what}/{command}", command, arguments, (name,),
                        lambda folder, name=name, file=file, fault=fault: fault(folder / name / file),
                    )  # fmt: skip


def files_of(name: str) -> Iterator[tuple[str, dict[str, Fault]]]:
    """Yield the files of a layout, relative to its root, with their faults."""
    folder = templates.where() / name
    pictures: dict[str, int] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and ".spg_lightning" not in path.parts):
        below = path.relative_to(folder)
        if below.parts[0] in ANNOTATIONS:
            continue
        if path.suffix in (".txt", ".csv"):
            yield str(below), ANY | TEXT | rows("," if "," in path.read_text() else " ")
        elif (number := pictures.get(below.parts[0], 0)) < SHOWN and path.suffix not in (".json", ".xml"):
            pictures[below.parts[0]] = number + 1
            yield str(below), ANY | PHOTOS
