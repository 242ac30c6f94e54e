"""Evaluate a module on val and test, and choose score map and threshold on val."""

from dataclasses import dataclass

import pytorch_lightning as pl

from spg_lightning.datamodule import PhotoDataModule
from spg_lightning.localization.floors import floors
from spg_lightning.localization.metrics import Curves, summarize
from spg_lightning.module import SPGModule


@dataclass(frozen=True)
class Evaluation:
    """The outcome.

    Attributes:
        score_map: of the smallest GT-known error on val, among those evaluated.
        threshold: of that map, on val.
        per_map: score map -> "<split>/<name>" -> number.
        floors: "test/floor_..." -> number.
        curves: split -> score map -> counts at all thresholds.
    """

    score_map: str
    threshold: float
    per_map: dict[str, dict[str, float]]
    floors: dict[str, float]
    curves: dict[str, dict[str, Curves]]

    @property
    def metrics(self) -> dict[str, float]:
        """The chosen map's numbers and the floors; then each map's own, as "<split>/<map>/<name>"."""
        flat = {**self.per_map[self.score_map], **self.floors}
        for name, numbers in self.per_map.items():
            for key, value in numbers.items():
                split, metric = key.split("/", 1)
                flat[f"{split}/{name}/{metric}"] = value
        return flat


def evaluate_module(trainer: pl.Trainer, module: SPGModule, data: PhotoDataModule) -> Evaluation:
    """Run val and test once each, for all of the module's score maps."""
    trainer.validate(module, datamodule=data, verbose=False)
    trainer.test(module, datamodule=data, verbose=False)
    val, test = module.curves["val"], module.curves["test"]
    chosen = max(val, key=lambda name: val[name].accuracy("gt_known").max())
    per_map = {
        name: {
            # the threshold was chosen on val, so that val's numbers are their own oracle
            **{f"val/{key.removesuffix('_oracle')}": value for key, value in summarize(val[name], None).items()},
            **{f"test/{key}": value for key, value in summarize(test[name], val[name]).items()},
        }
        for name in val
    }
    truth = {split: data.ground_truth(split, list(range(len(data.records[split])))) for split in ("val", "test")}
    blind = {f"test/{name}": value for name, value in floors(truth["test"], truth["val"], data.frame).items()}
    return Evaluation(
        score_map=chosen,
        threshold=per_map[chosen]["test/threshold"],
        per_map=per_map,
        floors=blind,
        curves={"val": val, "test": test},
    )
