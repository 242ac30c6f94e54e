"""Compare our four saliency measures with Quantus, image by image, on val photos of a run.

    pip install quantus
    python experiments/saliency_measures/compare.py runs/spg/checkpoints/last.ckpt

Prints each measure's mean of both, and the largest difference of an image; of insertion and deletion, of a point of a curve.
"""

import argparse

import numpy as np
import quantus
import torch
from omegaconf import OmegaConf
from torch import nn

from spg_lightning.checkpoints.rebuild import load_network
from spg_lightning.config.build import build_data, build_module
from spg_lightning.data.images import batches
from spg_lightning.evaluation.perturbation import class_probability, probability_curve, start_and_end
from spg_lightning.localization.saliency_metrics import energy_in_box, pointing_game
from spg_lightning.localizer import Localizer


class Logits(nn.Module):
    """A network as Quantus calls it: on images, or on masks (B, 1, Y, X) of the pixels that have become those of `end`."""

    def __init__(self, network, start=None, end=None):
        super().__init__()
        self.network, self.start, self.end = network, start, end

    def forward(self, given):
        images = given if self.start is None else torch.where(given > 0, self.end, self.start)
        return self.network(images, ()).logits


def mark(arr, indices, **_):
    """Return masks with more pixels marked."""
    marked = arr.copy()
    marked[np.arange(len(arr))[:, None], indices] = 1
    return marked


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--photos", type=int, default=50)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--score-map", default="attention")
    args = parser.parse_args()
    network, metadata = load_network(args.checkpoint)
    cfg = OmegaConf.create(metadata.config)
    data = build_data(cfg)
    data.setup()
    module = build_module(cfg, network)
    network.eval()
    localizer = Localizer(network, {args.score_map: module.localizer.score_maps[args.score_map]})
    dataset = data.dataset("val")
    rows = {name: ([], []) for name in ("pointing game", "energy in box", "deletion", "insertion")}
    for batch in batches(dataset, 10, range(args.photos)):
        labels = torch.as_tensor(batch["label"])
        maps = localizer.maps(batch["image"], labels.tolist())
        inside = np.zeros((len(maps), 1, *maps.shape[1:]), bool)
        truth = [dataset.true_boxes(int(index)) for index in batch["index"]]
        for k, boxes in enumerate(truth):
            for x0, y0, x1, y1 in boxes:
                inside[k, 0, y0 : y1 + 1, x0 : x1 + 1] = True
        inputs = network.stem.normalize(batch["image"])
        given = {"model": Logits(network).eval(), "x_batch": inputs.numpy(), "y_batch": labels.numpy(), "device": "cpu"}
        maps_of = {"a_batch": maps[:, None], "s_batch": inside}
        with torch.no_grad():
            theirs = quantus.PointingGame(normalise=False, disable_warnings=True)(**given, **maps_of)
            rows["pointing game"][0].extend(pointing_game(*pair) for pair in zip(maps, truth, strict=True))
            rows["pointing game"][1].extend(float(value) for value in theirs)
            theirs = quantus.RelevanceMassAccuracy(normalise=False, disable_warnings=True)(**given, **maps_of)
            rows["energy in box"][0].extend(energy_in_box(*pair) for pair in zip(maps, truth, strict=True))
            rows["energy in box"][1].extend(theirs)
            # Quantus does not say which of equal pixels comes first: a map of ranks has none
            order = (-torch.from_numpy(maps).flatten(1)).argsort(dim=1, stable=True).argsort(dim=1)
            ranks = -order.reshape(maps.shape).float()
            share = -(-ranks[0].numel() // args.steps)
            for name, (start, end) in start_and_end(inputs).items():
                curve = probability_curve(class_probability(network, labels), start, end, ranks, args.steps)
                metric = quantus.PixelFlipping(
                    features_in_step=share, perturb_func=mark, normalise=False, disable_warnings=True
                )
                theirs = metric(
                    model=Logits(network, start, end).eval(), x_batch=np.zeros_like(maps)[:, None], y_batch=labels.numpy(),
                    a_batch=ranks[:, None].numpy(), device="cpu",
                )  # fmt: skip
                rows[name][0].extend(curve[:, 1:].tolist())
                rows[name][1].extend(theirs)
    print(f"{args.photos} photos, {args.score_map}, {args.steps} steps, quantus {quantus.__version__}")
    for name, pair in rows.items():
        ours, theirs = (np.asarray(values, np.float64) for values in pair)
        print(
            f"{name}: ours {ours.mean():.6f}, Quantus {theirs.mean():.6f}, largest difference {abs(ours - theirs).max():.2g}"
        )


if __name__ == "__main__":
    main()
