"""Read the boxes of a Pascal VOC .xml file, which ILSVRC also uses."""

from pathlib import Path

from spg_lightning.data.validation.image_sizes import Box
from spg_lightning.data.validation.issues import IssueCollector
from spg_lightning.data.xml_files import parse_xml
from spg_lightning.utils.pipes import refuse_pipe

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(path: Path, issues: IssueCollector, photo: Path | None) -> tuple[list[str], list[Box]]:
    """Return the objects' names, and their boxes x0 y0 x1 y1 with the numbers as written.

    Tools disagree whether VOC's pixels count from 0 or 1; the CVPR 2020 benchmark takes ILSVRC's numbers unchanged.
    A file that declares entities is refused: they can grow without bounds.
    """
    refuse_pipe(path)
    try:
        tree = parse_xml(path.read_bytes())
        names, boxes = list[str](), list[Box]()
        for number, node in enumerate(tree.iter("object"), start=1):
            texts = [node.findtext(f"bndbox/{corner}") for corner in CORNERS]
            if None in texts:
                raise ValueError(f"object {number} lacks a corner of its box")
            names.append(node.findtext("name") or "")
            x0, y0, x1, y1 = (float(text or "nan") for text in texts)
            boxes.append((x0, y0, x1, y1))
    except ValueError as error:
        issues.add(f"{path} is not an annotation in Pascal VOC's format ({error}); restore or delete it", photo)
        return [], []
    return names, boxes


def voc_image_path(path: Path) -> str:
    """Return the path of the image that some tools note in a file; "" without one."""
    refuse_pipe(path)
    try:
        return parse_xml(path.read_bytes()).findtext("path") or ""
    except ValueError:
        return ""
