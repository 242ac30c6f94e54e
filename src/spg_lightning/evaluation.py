"""Evaluation: val and test once each; score map and threshold chosen on val."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from spg_lightning.build import build_data, build_module, load_network
from spg_lightning.console import quiet_lightning
from spg_lightning.datamodule import PhotoDataModule
from spg_lightning.errors import UserError
from spg_lightning.localization.floors import floors
from spg_lightning.localization.metrics import Curves, summarize
from spg_lightning.module import SPGModule
from spg_lightning.provenance import provenance, write_json
from spg_lightning.reporting.gallery import write_gallery
from spg_lightning.reporting.tables import print_evaluation, write_score_map_table


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


def evaluate(cfg: DictConfig) -> Evaluation:
    """Evaluate a checkpoint as `conf/evaluate.yaml` describes it; metrics and gallery go to `cfg.output_dir`.

    The checkpoint brings its data set's config; `cfg.dataset` and `cfg.root` replace it or say where it is now.

    Raises:
        UserError: no checkpoint, other classes than it was trained on, or data that cannot be read.
    """
    quiet_lightning()
    started = datetime.now(UTC)
    network, description = load_network(cfg.checkpoint)
    trained = OmegaConf.create(description.config)
    if cfg.get("dataset"):
        trained.dataset = cfg.dataset
        OmegaConf.resolve(trained)
        trained.data.reader = trained.dataset.reader
    if cfg.root is not None:
        trained.data.reader.root = str(cfg.root)
    trained.data.crop, trained.data.resize = description.crop, max(description.crop, trained.data.resize)
    trained.data.eval_batch_size, trained.data.num_workers = cfg.eval_batch_size, cfg.num_workers
    trained.module.score_map, trained.module.num_thresholds = cfg.score_map.name, cfg.num_thresholds

    data = build_data(trained)
    if data.class_names != description.class_names:
        raise UserError(
            f"checkpoint={cfg.checkpoint} knows {len(description.class_names)} classes "
            f"({description.class_names[0]}, ...), the data set has {len(data.class_names)} ({data.class_names[0]}, ...); "
            "evaluate it on the classes it was trained on"
        )
    module = build_module(trained, network)
    folder = Path(cfg.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    trainer = pl.Trainer(
        accelerator=cfg.accelerator, devices=1, logger=False, enable_checkpointing=False, enable_model_summary=False,
        use_distributed_sampler=False, default_root_dir=folder,
    )  # fmt: skip
    evaluation = evaluate_module(trainer, module, data)
    OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
    write_json(folder / "metrics.json", evaluation.metrics)
    write_score_map_table(folder / "score_maps.csv", evaluation)
    write_json(
        folder / "provenance.json",
        provenance(None, started, checkpoint=str(cfg.checkpoint), score_map=evaluation.score_map),
    )
    if cfg.gallery_images:
        write_gallery(
            folder / "gallery",
            network,
            data,
            module.loss,
            evaluation.score_map,
            evaluation.threshold,
            cfg.gallery_images,
        )
    print_evaluation(evaluation, str(cfg.checkpoint))
    return evaluation
