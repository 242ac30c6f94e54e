"""Write small data sets in their official layouts; no test downloads anything."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_cub(
    folder: Path, classes: int = 3, per_class: int = 8, size: tuple[int, int] = (60, 40), segmentations: bool = False
) -> Path:
    """Write a CUB-200-2011 tree: class k shows as a rectangle of its own colour; half of each class is test."""
    rng = np.random.default_rng(0)
    lists: dict[str, list[str]] = {
        name: [] for name in ("images", "image_class_labels", "bounding_boxes", "train_test_split", "classes")
    }
    number = 0
    for k in range(classes):
        name = f"{k + 1:03d}.Class_{k}"
        (folder / "images" / name).mkdir(parents=True)
        lists["classes"].append(f"{k + 1} {name}")
        for i in range(per_class):
            number += 1
            x, y = int(rng.integers(0, 25)), int(rng.integers(0, 15))
            picture = rng.integers(0, 90, (size[1], size[0], 3)).astype(np.uint8)
            picture[y : y + 20, x : x + 30] = np.eye(3, dtype=np.uint8)[k % 3] * 200
            Image.fromarray(picture).save(folder / "images" / name / f"Photo_{i}.jpg")
            if segmentations:
                mask = np.zeros((size[1], size[0]), np.uint8)
                mask[y : y + 20, x : x + 30] = 255
                (folder / "segmentations" / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(folder / "segmentations" / name / f"Photo_{i}.png")
            lists["images"].append(f"{number} {name}/Photo_{i}.jpg")
            lists["image_class_labels"].append(f"{number} {k + 1}")
            lists["bounding_boxes"].append(f"{number} {x}.0 {y}.0 30.0 20.0")
            lists["train_test_split"].append(f"{number} {i % 2}")
    for file, lines in lists.items():
        (folder / f"{file}.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_maps(folder: Path, count: int = 40, size: tuple[int, int] = (64, 48), masks: bool = False) -> Path:
    """Write score maps and ground truth in the benchmark's format: maps/, metadata/, and masks/ if asked for.

    Each image has one object, image 0 two; each map is a blob near the object.
    """
    rng = np.random.default_rng(1)
    lists: dict[str, list[str]] = {name: [] for name in ("image_ids", "class_labels", "image_sizes", "localization")}
    for part in ("maps/birds", "metadata", *(["masks/birds"] if masks else [])):
        (folder / part).mkdir(parents=True)
    y, x = np.mgrid[: size[1], : size[0]]
    for i in range(count):
        name = f"birds/photo_{i:02d}.jpg"
        x0, y0 = int(rng.integers(0, size[0] - 24)), int(rng.integers(0, size[1] - 20))
        blob = np.exp(-(((x - x0 - 10) / 9) ** 2) - ((y - y0 - 8) / 7) ** 2) + 0.05 * rng.random(x.shape)
        np.save(folder / "maps" / f"birds/photo_{i:02d}.npy", (blob / blob.max()).astype(np.float32))
        lists["image_ids"].append(name)
        lists["class_labels"].append(f"{name},{i % 5}")
        lists["image_sizes"].append(f"{name},{2 * size[0]},{2 * size[1]}")
        if masks:
            mask = np.zeros((2 * size[1], 2 * size[0]), np.uint8)
            mask[2 * y0 : 2 * y0 + 36, 2 * x0 : 2 * x0 + 44] = 255
            Image.fromarray(mask).save(folder / "masks" / f"birds/photo_{i:02d}_m.png")
            Image.fromarray(255 - mask // 2).save(folder / "masks" / f"birds/photo_{i:02d}_ignore.png")
            ignore = f"birds/photo_{i:02d}_ignore.png" if i % 2 else ""
            lists["localization"].append(f"{name},birds/photo_{i:02d}_m.png,{ignore}")
        else:
            lists["localization"].append(f"{name},{2 * x0},{2 * y0},{2 * x0 + 44},{2 * y0 + 36}")
            if i == 0:
                lists["localization"].append(f"{name},0,0,4,4")
    for file, lines in lists.items():
        (folder / "metadata" / f"{file}.txt").write_text("\n".join(lines) + "\n")
    return folder


def replace_line(file: Path, start: str, new: str | None) -> None:
    """Replace the line that begins with `start`, or drop it."""
    lines = file.read_text().splitlines()
    assert any(line.startswith(start) for line in lines)
    kept = [new if line.startswith(start) else line for line in lines]
    file.write_text("\n".join(line for line in kept if line is not None) + "\n")
