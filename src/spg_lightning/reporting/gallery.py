"""The gallery of a run: per test image its attention, masks, score map and box."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from spg_lightning.datamodule import ImageDataModule
from spg_lightning.localization.collapse import full_masks
from spg_lightning.localizer import Localizer
from spg_lightning.reporting import overlay
from spg_lightning.reporting.samples import SampleView, collect_views
from spg_lightning.spg.guidance import FOREGROUND
from spg_lightning.spg.network import BRANCHES
from spg_lightning.spg.training_step import Loss
from spg_lightning.utils.file_names import result_name

log = logging.getLogger(__name__)

SIDE = 224  # pixels of the longer side of a panel


def write_gallery(
    folder: Path, localizer: Localizer, data: ImageDataModule, loss: Loss | None, count: int
) -> list[Path]:
    """Write a PNG per test image, and `overview.png` with all of them; return the paths.

    Panels: the image with ground truth; attention of the label; the masks that supervise B2, B1 and C (foreground pink,
    background blue, ignored grey), where `loss` has thresholds and guidance; the score map; the mask at the threshold, the true one
    outlined in green; the box and the predicted class.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, paths, taken = [], [], {"overview"}
    colours: dict[str, overlay.Colour] = {}
    views = collect_views(localizer, data, loss, count)
    for text in full_masks(_smallest_foreground(views)):
        log.warning("%s", text)
    for view in views:
        row = overlay.panel_row(panels(view), SIDE)
        colours |= _colours(view)
        name = result_name(Path(view.image), taken)
        taken.add(name.lower())
        path = folder / f"{name}.png"
        Image.fromarray(np.concatenate([row, overlay.legend(row.shape[1], _colours(view))])).save(path)
        rows.append(row)
        paths.append(path)
    if rows:
        Image.fromarray(np.concatenate([*rows, overlay.legend(rows[0].shape[1], colours)])).save(
            folder / "overview.png"
        )
        paths.append(folder / "overview.png")
    return paths


def _colours(view: SampleView) -> dict[str, overlay.Colour]:
    """Return the legend of an image's panels."""
    colours = overlay.BOXES | overlay.MASK | (overlay.TERNARY if view.masks else {})
    if not view.has_truth:
        del colours["ground truth"]
    return colours


def _smallest_foreground(views: Sequence[SampleView]) -> dict[str, float]:
    """Return the smallest foreground fraction of each branch's masks."""
    fractions: dict[str, float] = {}
    for view in views:
        for name, mask in view.masks.items():
            fractions[name] = min(float(np.mean(mask == FOREGROUND)), fractions.get(name, 1.0))
    return fractions


def panels(view: SampleView) -> list[tuple[str, overlay.Photo]]:
    """Return the captioned panels of an image."""
    # drawn at the panels' size, so that lines and letters stay sharp
    photo = overlay.resize_to_fit(view.photo, SIDE)
    height, width = photo.shape[:2]
    scale = np.tile([width / view.photo.shape[1], height / view.photo.shape[0]], 2)
    true_boxes = [((np.array(box) * scale).tolist(), overlay.TRUTH, "") for box in view.truth]
    drawn = [("ground truth" if view.has_truth else "image", overlay.boxes(photo, true_boxes))]
    drawn.append(("attention", overlay.heat(photo, overlay.resize_map(view.attention, width, height))))
    for name, ternary in view.masks.items():
        fraction = np.mean(ternary == FOREGROUND)
        enlarged = overlay.resize_labels(ternary, width, height)
        drawn.append((f"mask for {name.upper()}: {fraction:.0%} fg", overlay.mask(photo, enlarged)))
    if view.name != "attention":
        enlarged = overlay.resize_map(view.score_map, width, height)
        drawn.append((f"score map: {title_of(view.name)}", overlay.heat(photo, enlarged)))
    drawn.append((_mask_caption(view), _mask_panel(photo, view)))
    final = [
        *true_boxes,
        ((np.array(view.box) * scale).tolist(), overlay.PREDICTED, f"IoU {view.iou:.2f}" if len(view.truth) else ""),
    ]
    right = "right" if view.predicted == view.label else "wrong"
    drawn.append((f"{short_name(view.predicted)} ({right})", overlay.boxes(photo, final)))
    return drawn


def _mask_caption(view: SampleView) -> str:
    return "mask" if view.true_mask is None else f"mask, IoU {view.mask_iou:.2f}"


def _mask_panel(photo: overlay.Photo, view: SampleView) -> overlay.Photo:
    """Return the image dimmed outside the mask; the true mask, if any, is outlined."""
    height, width = photo.shape[:2]
    predicted = overlay.resize_map(view.score_map, width, height) >= view.level
    outlines = {overlay.FOREGROUND: predicted}
    if view.true_mask is not None:
        true = overlay.resize_labels(view.true_mask, width, height)
        outlines = {overlay.TRUTH: true == FOREGROUND, **outlines}
    return overlay.cutout(photo, predicted, outlines)


def title_of(score_map: str) -> str:
    """Return the display name of a score map: the paper writes branches in capitals."""
    return score_map.upper() if score_map in BRANCHES else score_map


def short_name(class_name: str) -> str:
    """Return the display name of a class: CUB's '003.Sooty_Albatross' becomes 'Sooty Albatross'."""
    head, _, tail = class_name.partition(".")
    return (tail if head.isdigit() and tail else class_name).replace("_", " ")
