"""The good inputs of all cases, written once: data sets, photos, a trained run, exported models, maps."""

import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import torch
from PIL import Image

from tests import trees
from tests.checkpoints.test_published import import_published_names
from tests.comparison.fabricate import config_of, write_run
from tests.faults.forked import call, run

# a network of 0.4 million parameters, one step on two images
TRAIN = (
    "dataset=cub", "dataset.root=cub", "dataset.resize=36", "dataset.crop=32", "dataset.batch_size=2",
    "dataset.max_epochs=1", "stem=timm", "stem.name=test_resnet", "stem.a3_channels=8", "stem.b_channels=4",
    "data.num_workers=0", "gallery_images=1", "report_images=1", "trainer.accelerator=cpu", "module.num_thresholds=10",
    "training_free=none", "output_dir=out",
)  # fmt: skip
CHECKPOINT = "run/checkpoints/last.ckpt"
PREDICT = (f"checkpoint={CHECKPOINT}", "images=photos", "output_dir=out", "num_workers=0", "accelerator=cpu")
EVALUATE = (
    f"checkpoint={CHECKPOINT}", "root=cub", "output_dir=out", "num_workers=0", "num_thresholds=10", "accelerator=cpu",
    "gallery_images=1", "report_images=1",
)  # fmt: skip
MAPS = (
    "maps=maps/maps",
    "metadata=maps/metadata",
    "output_dir=out",
    "num_workers=1",
    "num_thresholds=10",
    "map_size=32",
)
PREPARE = ("dataset=cub", "dataset.root=cub", "output_dir=out", "num_workers=1")
REPORT = ("runs=runs", "output_dir=out")
EXPORT = (f"checkpoint={CHECKPOINT}", "format=torch_export", "output=out/model.pt2", "output_dir=out")
PUSH = (f"checkpoint={CHECKPOINT}", "to=out/shared", "output_dir=out")
CONVERT = ("source=published.pth", "layout=benchmark/vgg16", "output=out/model.safetensors", "output_dir=out")
FOLDER = ("dataset=folder", "dataset.root=classes", "output_dir=out")
WRITTEN = ("coco.json", "cvat.xml", "label_studio/tasks.json", "yolo", "voc")  # by `predict`, and read back
_place = Path()


def where() -> Path:
    """Return the folder of the good inputs."""
    return _place


def annotations() -> list[str]:
    """Return the annotation files and folders in the class folders."""
    return ["boxes.csv", "boxes.json", "boxes", *WRITTEN]


def write_templates(folder: Path) -> None:
    """Write all good inputs. Runs `train` and `predict` in this process, so that its forks find everything imported."""
    global _place
    _place = folder
    folder.mkdir(parents=True, exist_ok=True)
    trees.write_cub(folder / "cub", classes=2, per_class=4, segmentations=True)
    trees.write_maps(folder / "maps", count=4)
    trees.write_maps(folder / "mask_maps", count=4, masks=True)
    trees.write_ilsvrc(folder / "ilsvrc", classes=2, per_class=3)
    trees.write_benchmark(folder / "benchmark")
    trees.write_benchmark(folder / "mask_benchmark", masks=True)
    for kind in ("csv", "coco", "voc"):
        trees.write_folder(folder / "classes", kind, classes=2, per_class=2)
    _write_photos(folder / "photos")
    _write_archives(folder)
    for seed in (0, 1):
        write_run(folder / "runs" / f"spg-{seed}", config_of(), seed, 30.0 + seed)
    shapes = import_published_names("benchmark/vgg16")
    torch.save({name: torch.zeros(shape) for name, shape in shapes.items()}, folder / "published.pth")
    rows = "".join(f"birds/photo_{i:02d},{i % 5},{(i + 1) % 5}\n" for i in range(4))
    (folder / "predictions.csv").write_text(rows)
    before = Path.cwd()
    os.chdir(folder)
    _must("train", [*TRAIN[:-1], "output_dir=run"], call("train", [*TRAIN[:-1], "output_dir=run"]))
    _must("predict", [], call("predict", [*PREDICT[:1], "images=classes", "output_dir=predicted", *PREDICT[3:], "masks=polygons", "writer=[coco,yolo,voc,label_studio,cvat]", "page=true"]))  # fmt: skip
    _must("report", [], call("report", ["runs=runs", "output_dir=reported"]))
    for name in WRITTEN:
        (folder / "classes" / name).parent.mkdir(exist_ok=True)
        (folder / "predicted" / name).rename(folder / "classes" / name)
    shutil.rmtree(folder / "classes/yolo/images")  # links to the images themselves
    _must("push", [], call("push", [EXPORT[0], "to=shared", "output_dir=home"]))
    for name, suffix in (("torch_export", ".pt2"), ("onnx", ".onnx")):
        done = run(
            "export", [EXPORT[0], f"format={name}", f"output=model{suffix}", "output_dir=home"], folder, {}, fresh=False
        )
        _must("export", [name], done.code, done.err)
    os.chdir(before)
    (folder / "run/checkpoints/best.ckpt").unlink()


def _must(command: str, arguments: list[str], code: int | None, err: str = "") -> None:
    if code != 0:
        raise RuntimeError(f"{command} {' '.join(arguments)} failed on the good inputs: {err}")


def _write_photos(folder: Path) -> None:
    folder.mkdir()
    for number, suffix in enumerate(("jpg", "png")):
        Image.fromarray(trees.photo_like((60, 40), number)).save(folder / f"{number}.{suffix}")


def _write_archives(folder: Path) -> None:
    with tarfile.open(folder / "cub.tgz", "w:gz") as archive:
        archive.add(folder / "cub", "cub")
    with zipfile.ZipFile(folder / "cub.zip", "w") as archive:
        for path in sorted((folder / "cub").rglob("*")):
            archive.write(path, Path("cub") / path.relative_to(folder / "cub"))
