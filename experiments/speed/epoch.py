"""Time whole epochs from JPEG files beside the bare training step, in one run: does the loader keep up with the step?

    python experiments/speed/epoch.py --output runs/epoch                                                     (the CPU, small)
    python experiments/speed/epoch.py --output runs/epoch --stem inception_v3 --batch 64 128 --photos 12800 trainer=gpu   (a GPU)

Draws photos of 500 x 375 pixels, times the bare step, trains two epochs on them, and times the step again. The rate of training is
that of its second epoch, from end to end, waiting for the loader included; validation is not. Writes table.md and facts.json.
"""

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import pytorch_lightning as pl
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

from benchmark import Case, facts_of, matmul_rate, module_of
from step_timing import PRECISIONS, photos, seconds, training
from tests.trees import photo_like

from spg_lightning.callbacks.throughput import step_flops
from spg_lightning.config.build import build_data, build_module, build_network, build_trainer, precision_of
from spg_lightning.config.compose import compose
from spg_lightning.utils.device import device_of
from spg_lightning.utils.logging import configure_logging, hide_lightning_tips
from spg_lightning.utils.provenance import write_json

DRAWN = 200  # photos; the others are links to them
CLASSES = 20


class Epochs(pl.Callback):
    """Records the seconds of each training epoch, without its validation."""

    def __init__(self, device):
        self.device, self.took = device, []

    def _now(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return perf_counter()

    def on_train_epoch_start(self, trainer, module):
        self.began = self._now()

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        if trainer.is_last_batch:
            self.took.append(self._now() - self.began)


def draw(root, count):
    """Write a folder a class, with `count` training images and a few of val and test."""
    for split, number in (("train", count), ("val", CLASSES), ("test", CLASSES)):
        for index in range(number):
            path = root / split / f"class{index % CLASSES:02d}" / f"{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            source = root / "drawn" / f"{index % DRAWN}.jpg"
            if not source.is_file():
                source.parent.mkdir(exist_ok=True)
                Image.fromarray(photo_like((500, 375), index % DRAWN)).save(source, quality=95)
            path.hardlink_to(source)


def config(args, root, batch):
    """Return the config of a training of two epochs without validation."""
    return compose(
        "train",
        ["dataset=folder", f"dataset.root={root}", f"stem={args.stem}", "stem.weights=none", "training_free=none",
         f"dataset.batch_size={batch}", f"dataset.resize={args.size * 8 // 7}", f"dataset.crop={args.size}", "logger=none",
         "trainer.max_epochs=2", "trainer.limit_val_batches=0", "callbacks.progress=null", "callbacks.best=null",
         f"output_dir={root / 'run'}", *args.overrides],
    )  # fmt: skip


def rate_of_training(cfg, device):
    """Return images a second of the second epoch."""
    data, epochs = build_data(cfg), Epochs(device)
    data.setup()
    trainer = build_trainer(cfg, [epochs])
    trainer.fit(build_module(cfg, build_network(cfg, len(data.class_names))), datamodule=data)
    return len(data.records["train"]) // data.batch_size * data.batch_size / epochs.took[1]


def rate_of_step(call, batch, device):
    """Return images a second of the step alone."""
    seconds(call, device, 2)
    return batch / seconds(call, device, 20 if device.type == "cuda" else 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--stem", default="efficientnet_lite0")
    parser.add_argument("--batch", type=int, nargs="+", default=[8])
    parser.add_argument("--photos", type=int, default=160)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument(
        "overrides", nargs="*", default=[], help="of train, such as trainer=gpu or module.compile=reduce-overhead"
    )
    args = parser.parse_args()
    configure_logging()
    hide_lightning_tips()
    started, device = datetime.now(UTC), device_of(args.accelerator)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # as in trainer=gpu
    lines = [
        "| batch | precision | step alone before, after | training, images/s | of the step | of the matrix rate |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    rates = {}
    args.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), args.photos)
        for batch in args.batch:
            cfg = config(args, Path(folder), batch)
            precision = precision_of(cfg.trainer)
            rates[precision] = matmul_rate(device, PRECISIONS[precision])
            case = Case(args.stem, batch, precision, cfg.module.compile, args.size, CLASSES, tuple(args.overrides))
            module = module_of(case).to(device)
            call = training(module, precision, *photos(batch, args.size, CLASSES, device))
            before = rate_of_step(call, batch, device)
            trained = rate_of_training(cfg, device)
            after = rate_of_step(call, batch, device)
            flops = step_flops(module, batch, args.size) / batch
            lines.append(
                f"| {batch} | {precision} | {before:.4g}, {after:.4g} | {trained:.4g} | {200 * trained / (before + after):.0f} % | "
                f"{100 * flops * trained / rates[precision]:.0f} % |"
            )
            # each time, so that the results survive a time limit
            (args.output / "table.md").write_text("\n".join(lines) + "\n")
            write_json(args.output / "facts.json", facts_of(device, rates, started))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
