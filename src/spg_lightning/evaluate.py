"""The verb `evaluate`: a checkpoint's errors on a data set."""

from datetime import UTC, datetime
from pathlib import Path

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from spg_lightning.build import build_data, build_module, load_network
from spg_lightning.cli import run
from spg_lightning.errors import UserError
from spg_lightning.evaluation import Evaluation, evaluate_module
from spg_lightning.provenance import provenance, write_json
from spg_lightning.reporting.gallery import write_gallery
from spg_lightning.reporting.tables import print_evaluation, write_score_map_table
from spg_lightning.train import quiet_lightning


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
    write_json(folder / "provenance.json", provenance(None, started, checkpoint=str(cfg.checkpoint), score_map=evaluation.score_map))
    if cfg.gallery_images:
        write_gallery(
            folder / "gallery", network, data, module.loss, evaluation.score_map, evaluation.threshold, cfg.gallery_images
        )
    print_evaluation(evaluation, str(cfg.checkpoint))
    return evaluation


def main() -> None:
    """Run `evaluate` from the command line."""
    run("evaluate", evaluate)


if __name__ == "__main__":
    main()
