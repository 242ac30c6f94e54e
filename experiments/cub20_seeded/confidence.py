"""How well the confidence fitted on val holds on test: python experiments/cub20_seeded/confidence.py <run folder> ..."""

import sys
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from sklearn.metrics import brier_score_loss, roc_auc_score

from spg_lightning import Localizer, build_data
from spg_lightning.checkpoints.metadata import read_checkpoint
from spg_lightning.evaluation.fit_confidence import collect_examples, fit_confidence
from spg_lightning.utils.run_dir import RunDir

LEVELS = (0.0, 0.5, 0.8, 0.9, 0.95)


def measure(checkpoint: Path) -> None:
    """Fit on val, print what holds on the test part."""
    localizer = Localizer.load(checkpoint)
    data = build_data(OmegaConf.create(read_checkpoint(checkpoint)[0].config))
    data.setup()
    confidence = fit_confidence(localizer, data)
    test = collect_examples(localizer, data, "test", len(data.records["test"]))
    assert test is not None
    assert confidence.box is not None
    assert confidence.presence is not None
    given = confidence.box(test.box_features)
    print(f"\n{checkpoint}: {confidence.num_val} val images, {test.num_whole} test images\n")
    print("| box_confidence of at least | images | mean confidence | right |\n| --- | --- | --- | --- |")
    for level in LEVELS:
        chosen = given >= level
        print(
            f"| {level:g} | {chosen.sum()} | {100 * given[chosen].mean():.1f} | {100 * test.is_right[chosen].mean():.1f} |"
        )
    base = test.is_right.mean()
    print(
        f"\nBrier score {brier_score_loss(test.is_right, given):.3f} (always the mean: {base * (1 - base):.3f}), "
        f"area under the ROC curve {roc_auc_score(test.is_right, given):.2f}"
    )
    presence = confidence.presence(test.presence_features)
    shown, kept = test.is_present, presence >= confidence.present_above
    whole = np.arange(len(kept)) < test.num_whole
    print(
        f"presence: area under the ROC curve {roc_auc_score(shown, presence):.2f}; of {(~shown).sum()} parts without the object "
        f"{100 * (~kept[~shown]).mean():.1f} % show nothing; of {whole.sum()} whole images {100 * kept[whole].mean():.1f} % and of "
        f"{(shown & ~whole).sum()} parts with it {100 * kept[shown & ~whole].mean():.1f} % show an object"
    )


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        measure(RunDir(Path(folder)).last)
