"""The gallery of a run: for some test photos, what the network saw, what taught its branches, and the box it drew."""

from pathlib import Path

import numpy as np
from PIL import Image

from spg_lightning.datamodule import ImageDataModule
from spg_lightning.module import Loss
from spg_lightning.reporting import overlay
from spg_lightning.reporting.samples import SampleView, collect_views
from spg_lightning.spg.guidance import FOREGROUND
from spg_lightning.spg.network import BRANCHES, SPGNetwork

SIDE = 192  # of a panel in pixels


def write_gallery(
    folder: Path,
    network: SPGNetwork,
    data: ImageDataModule,
    loss: Loss | None,
    score_map: str,
    threshold: float,
    count: int,
) -> list[Path]:
    """Write one PNG a test photo, and `overview.png` with all of them; return the paths.

    Panels: photo with ground truth; attention of the label; the masks that teach B2, B1 and C (foreground amber,
    background blue, ignored grey, with the foreground's share) where `loss` has thresholds and guidance; the chosen score map; the final box, under the predicted class.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, paths = [], []
    for view in collect_views(network, data, loss, score_map, threshold, count):
        row = overlay.panel_row(panels(view), SIDE)
        key = overlay.legend(row.shape[1], overlay.BOXES | (overlay.MASKS if view.masks else {}))
        path = folder / f"{view.image.replace('/', '_')}.png"
        Image.fromarray(np.concatenate([row, key])).save(path)
        rows.append(row)
        paths.append(path)
    if rows:
        Image.fromarray(np.concatenate([*rows, key])).save(folder / "overview.png")
        paths.append(folder / "overview.png")
    return paths


def panels(view: SampleView) -> list[tuple[str, overlay.Photo]]:
    """Return a photo's captioned panels."""
    # drawn at the panels' size, so that lines and letters stay sharp
    scale = SIDE / len(view.photo)
    photo = overlay.resize(view.photo, SIDE, SIDE)
    true_boxes = [([c * scale for c in box], overlay.TRUTH, "") for box in view.truth]
    drawn = [("ground truth", overlay.boxes(photo, true_boxes))]
    drawn.append(("attention", overlay.heat(photo, overlay.resize_map(view.attention, SIDE, SIDE))))
    for name, ternary in view.masks.items():
        nearest = np.asarray(Image.fromarray(ternary.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.NEAREST))
        share = np.mean(ternary == FOREGROUND)
        drawn.append((f"mask for {name.upper()}: {share:.0%} fg", overlay.mask(photo, nearest.astype(np.int8))))
    if view.name != "attention":
        enlarged = overlay.resize_map(view.score_map, SIDE, SIDE)
        drawn.append((f"score map: {title_of(view.name)}", overlay.heat(photo, enlarged)))
    final = [
        *true_boxes,
        ([c * scale for c in view.box], overlay.FOUND, f"IoU {view.iou:.2f}" if len(view.truth) else ""),
    ]
    right = "right" if view.predicted == view.label else "wrong"
    drawn.append((f"{short_name(view.predicted)} ({right})", overlay.boxes(photo, final)))
    return drawn


def title_of(score_map: str) -> str:
    """Return a score map's name for people: branches have capital letters in the paper."""
    return score_map.upper() if score_map in BRANCHES else score_map


def short_name(class_name: str) -> str:
    """Return a class name for people: CUB's '003.Sooty_Albatross' becomes 'Sooty Albatross'."""
    head, _, tail = class_name.partition(".")
    return (tail if head.isdigit() and tail else class_name).replace("_", " ")
