"""Evaluate seeded runs as if no box existed but for scoring: boxes of the training-free maps on val choose map and
threshold.

    python experiments/cub20_seeded/without_boxes.py runs/seed0 runs/seed1 ...

Prints GT-known error and MaxBoxAccV2 on test for each run.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from spg_lightning.callbacks.pseudo_boxes import draw_pseudo_boxes
from spg_lightning.checkpoints.rebuild import load_network
from spg_lightning.config.build import build_data, build_evaluator, build_module, build_training_free
from spg_lightning.config.compose import compose
from spg_lightning.evaluation.network_evaluation import evaluate_module

METRICS = ("test/gt_known_error", "test/max_box_acc_v2", "test/threshold")


def evaluate_without_boxes(run: Path, with_boxes: bool) -> dict[str, dict[str, float]]:
    """Return the metrics of a run for both choices."""
    checkpoint = run / "checkpoints" / "last.ckpt"
    network, metadata = load_network(checkpoint)
    cfg = OmegaConf.create(metadata.config)
    cfg.module.choose_by = "mean_iou"  # as in experiment=photos
    module, data = build_module(cfg, network), build_data(cfg)
    data.setup()
    trainer = build_evaluator(compose("evaluate", [f"checkpoint={checkpoint}", "output_dir=unused"]), run)
    found = {"boxes": evaluate_module(trainer, module, data)} if with_boxes else {}
    val = data.records["val"]
    data.records["val"] = replace(
        val, boxes=np.zeros((0, 4)), box_offsets=np.zeros(len(val) + 1, int), masks=(), origin=None
    )
    draw_pseudo_boxes(build_training_free(cfg), network, data, trainer)
    found["no boxes"] = evaluate_module(trainer, module, data)
    return {
        name: {"map": result.score_map, **{key: round(result.metrics[key], 2) for key in METRICS}}
        for name, result in found.items()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--with-boxes", action="store_true", help="repeat the evaluation with val's boxes, too")
    arguments = parser.parse_args()
    for folder in arguments.runs:
        for name, numbers in evaluate_without_boxes(folder, arguments.with_boxes).items():
            print(folder.name, name, numbers, flush=True)
