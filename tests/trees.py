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


def replace_line(file: Path, start: str, new: str | None) -> None:
    """Replace the line that begins with `start`, or drop it."""
    lines = file.read_text().splitlines()
    assert any(line.startswith(start) for line in lines)
    kept = [new if line.startswith(start) else line for line in lines]
    file.write_text("\n".join(line for line in kept if line is not None) + "\n")
