"""Which reader a file of annotations needs."""

from collections.abc import Iterator
from pathlib import Path

from spg_lightning.data.json_files import read_json
from spg_lightning.data.readers.coco_file import read_coco
from spg_lightning.data.readers.cvat_file import read_cvat
from spg_lightning.data.readers.folder_images import Annotation, FolderImages, read_numbers
from spg_lightning.data.readers.label_studio_file import read_label_studio
from spg_lightning.data.readers.voc import read_voc, voc_image_path
from spg_lightning.data.readers.yolo_folder import DATA, read_yolo
from spg_lightning.data.text_files import read_csv
from spg_lightning.errors import UserError

PREDICTIONS = ":predictions"  # after the name of a Label Studio file
KINDS = "a .csv, a COCO or Label Studio .json, a CVAT .xml, a folder of Pascal VOC .xml or a YOLO folder"


def split_name(name: str) -> tuple[str, bool]:
    """Return the file of a setting, and whether its predictions are asked for instead of its annotations."""
    return name.removesuffix(PREDICTIONS), name.endswith(PREDICTIONS)


def read_annotations(name: str, images: FolderImages, key: str) -> Iterator[Annotation]:
    """Return the annotations of a file or folder.

    Args:
        name: relative to the root of `images`; `:predictions` after the name of a Label Studio file asks for these.
        images: that it annotates.
        key: of the setting, for messages.

    Raises:
        UserError: it is missing, of another kind, or wrong.
    """
    file, is_predicted = split_name(name)
    path, kind = images.root / file, Path(file).suffix.lower()
    if not path.exists():
        raise UserError(f"{key}={name}: {path} is missing; give {KINDS}")
    if is_predicted and kind != ".json":
        raise UserError(f"{key}={name}: only a Label Studio .json has predictions; give {file}")
    if path.is_dir():
        return read_yolo(path, images) if (path / DATA).is_file() else _voc(path, images)
    if kind == ".json":
        content = read_json(path, "a COCO file or Label Studio's tasks")
        if isinstance(content, list) and all(isinstance(task, dict) for task in content):
            return read_label_studio(content, path, images, is_predicted)
        if is_predicted:
            raise UserError(f"{key}={name}: {path} is not a Label Studio file; only these have predictions")
        return read_coco(path, images, content)
    if kind in (".csv", ".xml"):
        return _table(path, images) if kind == ".csv" else read_cvat(path, images)
    raise UserError(f"{key}={name}: unknown kind; give {KINDS}")


def _table(path: Path, images: FolderImages) -> Iterator[Annotation]:
    for number, words in read_csv(path, ("image", "x0", "y0", "x1", "y1")):
        where = f"{path}, line {number}"
        x0, y0, x1, y1 = read_numbers(words[1:], 4, where, "rows image,x0,y0,x1,y1")
        if (index := images.find(words[0], where)) is not None:
            yield Annotation(index, where, (x0, y0, x1, y1))


def _voc(path: Path, images: FolderImages) -> Iterator[Annotation]:
    files = sorted(path.rglob("*.xml"))
    if not files:
        raise UserError(f"{path} contains neither .xml files nor {DATA}; give {KINDS}")
    for file in files:
        boxes = read_voc(file, images.issues, None)[1]
        name = file.relative_to(path).with_suffix("").as_posix()
        if not images.candidates(name):
            name = voc_image_path(file) or name
        if (index := images.find(name, str(file))) is not None:
            for box in boxes:
                yield Annotation(index, str(file), box)
