"""Write small data sets in their official layouts; no test downloads anything."""

import json
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


def photo_like(size: tuple[int, int], seed: int) -> np.ndarray:
    """Return a picture (Y, X, 3) whose detail falls off with frequency as in photos; `size` is width and height."""
    rng = np.random.default_rng(seed)
    width, height = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1

    def noise(exponent: float) -> np.ndarray:
        drawn = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(height, width))) * frequency**-exponent, s=(height, width))
        return drawn / max(float(drawn.std()), 1e-9)

    grey, colours = noise(1.32), np.stack([noise(1.6) for _ in range(3)], -1)
    return (120 + 55 * grey[..., None] + 25 * colours).clip(0, 255).astype(np.uint8)


SIZE = (60, 40)  # width and height of the photos below
Box = tuple[int, int, int, int]


def write_photo(path: Path, label: int, rng: np.random.Generator) -> Box:
    """Write a photo in which the class shows as a rectangle of its own colour; return the rectangle, x0 y0 x1 y1."""
    x, y = int(rng.integers(0, 25)), int(rng.integers(0, 15))
    picture = rng.integers(0, 90, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    picture[y : y + 20, x : x + 30] = np.eye(3, dtype=np.uint8)[label % 3] * 200
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, "JPEG")
    return x, y, x + 30, y + 20


def write_folder(
    folder: Path, boxes: str = "", parts: tuple[str, ...] = ("train", "test"), classes: int = 3, per_class: int = 4
) -> Path:
    """Write class folders below each part ("" for none); boxes as "csv", "coco", "voc" or "" for none; a table, too."""
    rng = np.random.default_rng(0)
    names = ["cat", "dog", "emu"][:classes]
    found: dict[str, Box] = {}
    rows = []
    for part in parts:
        for label, name in enumerate(names):
            for i in range(per_class):
                image = f"{part}/{name}/{i}.jpg" if part else f"{name}/{i}.jpg"
                found[image] = write_photo(folder / image, label, rng)
                rows.append(f"{image},{name}" + (f",{part}" if part else ""))
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    if boxes == "csv":
        text = "".join(f"{image},{','.join(map(str, box))}\n" for image, box in found.items())
        (folder / "boxes.csv").write_text(f"image,x0,y0,x1,y1\n{text}")
    if boxes == "coco":
        (folder / "boxes.json").write_text(json.dumps(coco(found)))
    for image, box in found.items() if boxes == "voc" else ():
        write_voc((folder / "boxes" / image).with_suffix(".xml"), image, "thing", [box])
    return folder


def coco(found: dict[str, tuple[float, ...]]) -> dict[str, list[dict[str, object]]]:
    """Return a COCO file's content for one box an image, x0 y0 x1 y1."""
    return {
        "images": [{"id": i, "file_name": image} for i, image in enumerate(found)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            for i, (x0, y0, x1, y1) in enumerate(found.values())
        ],
    }


def write_voc(path: Path, image: str, name: str, boxes: list[Box]) -> None:
    """Write an annotation in Pascal VOC's format."""
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for a, b, c, d in boxes
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotation><filename>{image}</filename>{objects}</annotation>")


def write_ilsvrc(
    folder: Path, classes: int = 3, per_class: int = 6, lists: bool = True, train_boxes: bool = True
) -> Path:
    """Write an ILSVRC CLS-LOC tree; the first image of val has two boxes, one in three training images has none."""
    rng = np.random.default_rng(0)
    ids = [f"n0000000{k}" for k in range(classes)]
    train, val = [], []
    for label, wordnet_id in enumerate(ids):
        for i in range(per_class):
            name = f"{wordnet_id}/{wordnet_id}_{i}"
            box = write_photo(folder / "Data/CLS-LOC/train" / f"{name}.JPEG", label, rng)
            train.append(f"{name} {len(train) + 1}")
            if train_boxes and i % 3:
                write_voc(folder / "Annotations/CLS-LOC/train" / f"{name}.xml", name, wordnet_id, [box])
        for _ in range(3):
            name = f"ILSVRC2012_val_{len(val) + 1:08d}"
            box = write_photo(folder / "Data/CLS-LOC/val" / f"{name}.JPEG", label, rng)
            boxes = [box] if val else [box, (0, 0, 61, 9)]  # some official boxes stick out
            write_voc(folder / "Annotations/CLS-LOC/val" / f"{name}.xml", name, wordnet_id, boxes)
            val.append(f"{name} {len(val) + 1}")
    (folder / "LOC_synset_mapping.txt").write_text("".join(f"{w} thing {k}, object\n" for k, w in enumerate(ids)))
    if lists:
        (folder / "ImageSets/CLS-LOC").mkdir(parents=True)
        for name, rows in (("train_cls", train), ("val", val)):
            (folder / "ImageSets/CLS-LOC" / f"{name}.txt").write_text("\n".join(rows) + "\n")
    return folder


def write_metadata(
    folder: Path, photos: Path, part: str, classes: int, per_class: int, masks: Path | None = None
) -> Path:
    """Write photos and their lists in the benchmark's format; with `masks`, two masks and a region to ignore for image 0.

    As in OpenImages30k, where the ground truth is masks there are no sizes, and training images have no ground truth.
    """
    rng = np.random.default_rng(len(part))
    lists: dict[str, list[str]] = {name: [] for name in ("image_ids", "class_labels", "image_sizes", "localization")}
    for label in range(classes):
        for i in range(per_class):
            name = f"{part}/{label}/{i}.jpg"
            box = write_photo(photos / name, label, rng)
            lists["image_ids"].append(name)
            lists["class_labels"].append(f"{name},{label}")
            if masks is None:
                lists["image_sizes"].append(f"{name},{SIZE[0]},{SIZE[1]}")
                lists["localization"].append(f"{name},{','.join(map(str, box))}")
            elif part != "train":
                lists["localization"] += _masks_of(masks, name, box, several=i == 0)
    folder.mkdir(parents=True, exist_ok=True)
    for file, lines in lists.items():
        if lines or file == "image_sizes":
            (folder / f"{file}.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder


def _masks_of(masks: Path, name: str, box: Box, several: bool) -> list[str]:
    x0, y0, x1, y1 = box
    stem = name.removesuffix(".jpg")
    rows = []
    for k, rows_of in enumerate([(y0, y1 - 8), (y1 - 8, y1)] if several else [(y0, y1)]):
        mask = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        mask[rows_of[0] : rows_of[1], x0:x1] = 255
        (masks / stem).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(masks / f"{stem}_m{k}.png")
        rows.append(f"{name},{stem}_m{k}.png,{stem}_ignore.png" if k == 0 and several else f"{name},{stem}_m{k}.png,")
    if several:
        ignore = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        ignore[:, :2] = 255
        Image.fromarray(ignore).save(masks / f"{stem}_ignore.png")
    return rows


def write_benchmark(folder: Path, masks: bool = False, parts: tuple[str, ...] = ("train", "val", "test")) -> Path:
    """Write a data set in the benchmark's format: photos in the folder itself, metadata/ and maybe masks/ below it."""
    for part in parts:
        write_metadata(folder / "metadata" / part, folder, part, 3, 4, folder / "masks" if masks else None)
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
