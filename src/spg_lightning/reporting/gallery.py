"""The gallery of a run: for some test photos, what the network saw, what taught its branches, and the box it drew."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from spg_lightning.datamodule import PhotoDataModule
from spg_lightning.errors import UserError
from spg_lightning.localization.scan import box_in_photo, scan
from spg_lightning.module import Loss
from spg_lightning.reporting import overlay
from spg_lightning.score_maps import choose, look
from spg_lightning.spg.losses import guidance_masks
from spg_lightning.spg.network import SPGNetwork

SIDE = 192  # of a panel in pixels


def spread(count: int, wanted: int) -> list[int]:
    """Return `wanted` indices spread evenly over 0 .. count - 1: the same photos for every run on a data set."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, wanted)).round()})


def write_gallery(
    folder: Path,
    network: SPGNetwork,
    data: PhotoDataModule,
    loss: Loss | None,
    score_map: str,
    threshold: float,
    count: int,
) -> list[Path]:
    """Write one PNG a test photo, and `overview.png` with all of them; return the paths.

    Panels: photo with ground truth; attention of the label; the masks that teach B2, B1 and C (foreground amber,
    background blue, ignored grey) where `loss` has thresholds and guidance; the chosen score map; the final box.
    """
    folder.mkdir(parents=True, exist_ok=True)
    was_training = network.training
    network.eval()
    dataset, records = data.dataset("test"), data.records["test"]
    device = next(network.parameters()).device
    rows, paths = [], []
    for index in spread(len(dataset), count):
        try:
            sample = dataset[index]
        except UserError:
            continue
        if sample is None:
            continue
        label = torch.tensor([sample["label"]], device=device)
        image = network.stem.normalize(sample["image"][None].to(device))
        # all branches, for the masks that teach them
        with look(network, image, {*choose("auto", network.branches), score_map}) as seen:
            output = seen.output
            attention, best = (seen.map(name, label)[0, 0].cpu().numpy() for name in ("attention", score_map))
        photo = sample["image"].permute(1, 2, 0).numpy()
        truth = data.ground_truth("test", [index])[0]
        found = scan(best, truth)
        inside, iou = found.at(threshold)
        box = box_in_photo(inside, data.frame, data.frame)
        predicted = records.class_names[int(output.logits.argmax())]
        # drawn at the panels' size, so that lines and letters stay sharp
        scale = SIDE / data.crop
        photo = overlay.resize(photo, SIDE, SIDE)

        def enlarged(values: np.ndarray) -> np.ndarray:
            return overlay.resize_map(values, SIDE, SIDE)

        true_boxes = [([c * scale for c in b], overlay.TRUTH, "") for b in truth]
        panels = [("ground truth", overlay.boxes(photo, true_boxes))]
        panels.append(("attention", overlay.heat(photo, enlarged(attention))))
        for name, ternary in _masks(output, label, loss).items():
            nearest = np.asarray(
                Image.fromarray(ternary.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            )
            panels.append((f"mask for {name.upper()}", overlay.mask(photo, nearest.astype(np.int8))))
        if score_map != "attention":
            panels.append((f"score map: {score_map}", overlay.heat(photo, enlarged(best))))
        final = [*true_boxes, ([c * scale for c in box], overlay.FOUND, f"IoU {iou:.2f}" if len(truth) else "")]
        panels.append((short_name(predicted), overlay.boxes(photo, final)))
        row = overlay.strip(panels, SIDE)
        path = folder / f"{records.image_id(index).replace('/', '_')}.png"
        Image.fromarray(row).save(path)
        rows.append(row)
        paths.append(path)
    if rows:
        Image.fromarray(np.concatenate(rows)).save(folder / "overview.png")
        paths.append(folder / "overview.png")
    network.train(was_training)
    return paths


def _masks(output, label: torch.Tensor, loss: Loss | None) -> dict[str, np.ndarray]:  # type: ignore[no-untyped-def]
    told = getattr(loss, "keywords", {})  # the loss is spg_loss with its thresholds and guidance bound
    if "thresholds" not in told:
        return {}
    return {name: m[0, 0].cpu().numpy() for name, m in guidance_masks(output, label, **told).items()}


def short_name(class_name: str) -> str:
    """Return a class name for people: CUB's '003.Sooty_Albatross' becomes 'Sooty Albatross'."""
    head, _, tail = class_name.partition(".")
    return (tail if head.isdigit() and tail else class_name).replace("_", " ")
