"""Write predictions: overlays, score maps, JSON and COCO results."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from spg_lightning.localizer import Box, Localization
from spg_lightning.reporting import overlay
from spg_lightning.reporting.gallery import short_name
from spg_lightning.utils.provenance import write_json

OTHER_BOX = (200, 200, 200)  # colour of the classes after the first


@dataclass(frozen=True)
class Prediction:
    """One class of one image.

    Attributes:
        image: path of the image as given.
        rank: 1 for the most probable class.
        class_name: its name.
        class_index: its index in the checkpoint.
        score: probability in [0, 1].
        box: x0 y0 x1 y1 in pixels of the image.
        overlay: the overlay's path, relative to the output folder.
        map_file: the score map's path, relative to the output folder; empty unless maps are saved.
    """

    image: str
    rank: int
    class_name: str
    class_index: int
    score: float
    box: Box
    overlay: str
    map_file: str


def write_image(
    folder: Path,
    name: str,
    path: Path,
    image: UInt8[np.ndarray, "Y X 3"],
    localizations: Sequence[Localization],
    save_maps: bool,
) -> list[Prediction]:
    """Write the overlay of one image, and its score maps if `save_maps`; return its predictions.

    Args:
        folder: of all results.
        name: file name of this image's results, without extension.
        path: of the image.
        image: its pixels.
        localizations: the most probable class first.
        save_maps: write the score maps as .npy.
    """
    files = _save_maps(folder, name, localizations) if save_maps else [""] * len(localizations)
    shown = Path("overlays") / f"{name}.png"
    (folder / shown.parent).mkdir(parents=True, exist_ok=True)
    Image.fromarray(_overlay(image, localizations)).save(folder / shown)
    return [
        Prediction(str(path), k + 1, found.class_name, found.class_index, found.score, found.box, str(shown), file)
        for k, (found, file) in enumerate(zip(localizations, files, strict=True))
    ]


def write_json_results(folder: Path, predictions: Sequence[Prediction]) -> int:
    """Write predictions.json, coco_results.json, and coco_images.json with its image ids; return the number of images."""
    images = {image: k + 1 for k, image in enumerate(dict.fromkeys(p.image for p in predictions))}
    write_json(folder / "predictions.json", [_row(p) for p in predictions])
    write_json(folder / "coco_images.json", [{"id": k, "file_name": image} for image, k in images.items()])
    write_json(folder / "coco_results.json", [_coco_result(p, images[p.image]) for p in predictions])
    return len(images)


def _overlay(image: UInt8[np.ndarray, "Y X 3"], localizations: Sequence[Localization]) -> np.ndarray:
    """Return the image under the first class's map, with a box per distinct map."""
    distinct = [
        found for k, found in enumerate(localizations) if k == 0 or found.score_map is not localizations[0].score_map
    ]
    boxes = [
        (found.box, OTHER_BOX if k else overlay.PREDICTED, f"{short_name(found.class_name)} {100 * found.score:.0f}%")
        for k, found in enumerate(distinct)
    ]
    hot = overlay.heat(image, overlay.resize_map(localizations[0].score_map, image.shape[1], image.shape[0]))
    return overlay.boxes(hot, boxes[::-1])


def _save_maps(folder: Path, name: str, localizations: Sequence[Localization]) -> list[str]:
    """Write each distinct score map once and return the file of each class."""
    (folder / "maps").mkdir(parents=True, exist_ok=True)
    distinct = list({id(found.score_map): found.score_map for found in localizations}.values())
    files: dict[int, str] = {}
    for k, score_map in enumerate(distinct):
        file = f"maps/{name}_{k + 1}.npy" if len(distinct) > 1 else f"maps/{name}.npy"
        np.save(folder / file, score_map)
        files[id(score_map)] = file
    return [files[id(found.score_map)] for found in localizations]


def _row(prediction: Prediction) -> dict[str, object]:
    row = asdict(prediction)
    row["class"] = row.pop("class_name")
    row["box"] = dict(zip(("x0", "y0", "x1", "y1"), (round(c, 2) for c in prediction.box), strict=True))
    return row


def _coco_result(prediction: Prediction, image_id: int) -> dict[str, object]:
    x0, y0, x1, y1 = prediction.box
    box = [round(x0, 2), round(y0, 2), round(x1 - x0, 2), round(y1 - y0, 2)]
    return {"image_id": image_id, "category_id": prediction.class_index + 1, "bbox": box, "score": prediction.score}
