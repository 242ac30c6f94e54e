"""Are the losses of our step those of the plain step? Three comparisons of the first steps, in float32 or float64.

    python experiments/speed/first_losses.py --output experiments/speed          (Inception-v3, batch 8, 224: ten minutes)

Random photos, untrained weights. Each column is the largest absolute difference of a term of the loss, or of their sum:

* same weights: ours from the plain step's weights, set anew before every step;
* on its own: ours trained beside it from the same first weights;
* plain, moved: the plain step beside itself, its first weights moved by at most half a float32 rounding step. What two such runs
  differ by says how much of the column before is rounding that the training blows up.

Writes first_losses.csv and prints it as a table.
"""

import argparse
import csv
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from plain_step import PlainStep

from spg_lightning import build_module, build_network, compose

COLUMNS = ("same weights", "on its own", "plain, moved")
HALF_A_STEP = 2**-24


def ours(overrides, classes, dtype):
    """Return our module, from weights that depend on nothing but the overrides."""
    torch.manual_seed(0)
    cfg = compose("train", [*overrides, "output_dir=unused"])
    return build_module(cfg, build_network(cfg, num_classes=classes)).to(dtype).train()


class Plain:
    """The plain step on a module's network."""

    def __init__(self, module):
        pairs = module.loss.thresholds
        thresholds = {name: tuple(getattr(pairs, name)) for name in ("b2", "b1", "c")}
        self.network, self.step = module.network, PlainStep(module.network, module.optimizer, thresholds)
        self.schedule = schedule_of(module, self.step.optimizer)

    def __call__(self, images, labels):
        losses = self.step(self.network.stem.normalize(images), labels)
        self.schedule.step()
        return losses


def schedule_of(module, optimizer):
    """Return the learning rates of a training of 50 epochs on CUB, whose first steps these are."""
    return module.schedule(optimizer, total_steps=9350, steps_per_epoch=187)


def differences(overrides, dtype, size, batch, steps, classes, moved=True):
    """Yield, for every step, the largest difference of each column; without the third one where not `moved`."""
    own, twin, other, shaken = (ours(overrides, classes, dtype) for _ in range(4))
    optimizer = own.optimizer(own.network)
    schedule = schedule_of(own, optimizer)
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in shaken.parameters():
            weight *= 1 + (2 * torch.rand(weight.shape, generator=draw, dtype=dtype) - 1) * HALF_A_STEP
    plain, beside = Plain(other), Plain(shaken) if moved else None
    for step in range(steps):
        images = torch.randint(256, (batch, 3, size, size), generator=draw, dtype=torch.uint8)
        labels = torch.randint(classes, (batch,), generator=draw)
        twin.network.load_state_dict(plain.network.state_dict())

        def losses_of(module, update, images=images, labels=labels, step=step):
            torch.manual_seed(step)  # of the dropout
            with torch.set_grad_enabled(update):
                terms = module.step(module.network, module.loss, module._inputs(images), labels)
            if update:
                optimizer.zero_grad()
                terms["total"].backward()
                optimizer.step()
                schedule.step()
            return {name: value.item() for name, value in terms.items()}

        found = [losses_of(twin, update=False), losses_of(own, update=True)]
        for which in filter(None, (plain, beside)):
            torch.manual_seed(step)
            found.append(which(images, labels))
        expected = found.pop(2)
        assert all(losses.keys() == expected.keys() for losses in found)
        yield [max(abs(losses[name] - value) for name, value in expected.items()) for losses in found]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    print("| step | " + " | ".join(COLUMNS) + " |\n| --- | --- | --- | --- |")
    with (args.output / "first_losses.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *COLUMNS])
        overrides = ("stem=inception_v3", "stem.weights=none")
        for step, row in enumerate(differences(overrides, torch.float32, 224, 8, args.steps, 200), 1):
            cells = [f"{value:.1e}" for value in row]
            writer.writerow([step, *cells])
            print("| " + " | ".join([str(step), *cells]) + " |", flush=True)


if __name__ == "__main__":
    main()
