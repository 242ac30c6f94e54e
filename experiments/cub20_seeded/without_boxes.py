"""Evaluate seeded runs as if no box existed but for scoring: the seeds' boxes on val choose map and threshold.

    python experiments/cub20_seeded/without_boxes.py runs/seed0 runs/seed1 ...

Prints GT-known error and MaxBoxAccV2 on test for each run: chosen by the true boxes of val, and by the seeds' boxes.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from spg_lightning.callbacks.seeding import Seeding
from spg_lightning.checkpoints.rebuild import load_network
from spg_lightning.config.build import build_data, build_evaluator, build_module
from spg_lightning.config.compose import compose
from spg_lightning.evaluation.network_evaluation import evaluate_module
from spg_lightning.utils.instantiate import instantiate_node

METRICS = ("test/gt_known_error", "test/max_box_acc_v2", "test/threshold")


def evaluate_without_boxes(run: Path) -> dict[str, dict[str, float]]:
    """Return the metrics of a run for both choices."""
    checkpoint = run / "checkpoints" / "last.ckpt"
    network, metadata = load_network(checkpoint)
    cfg = OmegaConf.create(metadata.config)
    module, data = build_module(cfg, network), build_data(cfg)
    data.setup()
    trainer = build_evaluator(compose("evaluate", [f"checkpoint={checkpoint}", "output_dir=unused"]), run)
    found = {"boxes": evaluate_module(trainer, module, data)}
    val = data.records["val"]
    data.records["val"] = replace(
        val, boxes=np.zeros((0, 4)), box_offsets=np.zeros(len(val) + 1, int), masks=(), origin=None
    )
    seeding = instantiate_node(cfg.seeds)
    assert isinstance(seeding, Seeding)
    seeding.draw_pseudo_boxes(trainer, module, data)
    found["no boxes"] = evaluate_module(trainer, module, data)
    return {
        name: {"map": result.score_map, **{key: round(result.metrics[key], 2) for key in METRICS}}
        for name, result in found.items()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    for folder in parser.parse_args().runs:
        for name, numbers in evaluate_without_boxes(folder).items():
            print(folder.name, name, numbers, flush=True)
