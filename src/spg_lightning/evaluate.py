"""The verb `evaluate`: a checkpoint's network, or any method's score maps, through the same metrics and report."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from spg_lightning.checkpoints.allowed_targets import check_allowed_targets
from spg_lightning.config.build import build_data, build_evaluator, build_module, load_network
from spg_lightning.config.command_line import run_command
from spg_lightning.config.validation import check_ranges
from spg_lightning.data.predictions import OTHER
from spg_lightning.datamodule import ImageDataModule
from spg_lightning.errors import UserError
from spg_lightning.evaluation.classifiers import open_classifier
from spg_lightning.evaluation.map_folder import evaluate_maps
from spg_lightning.evaluation.results import Evaluation, compute_evaluation, image_results, select_score_map
from spg_lightning.module import SPGModule
from spg_lightning.reporting.gallery import write_gallery
from spg_lightning.reporting.run_page import Picture, write_evaluation
from spg_lightning.score_maps.context import score_map_context
from spg_lightning.spg.network import SPGNetwork
from spg_lightning.utils.logging import configure_logging
from spg_lightning.utils.provenance import provenance

log = logging.getLogger(__name__)


def evaluate_module(trainer: pl.Trainer, module: SPGModule, data: ImageDataModule) -> Evaluation:
    """Run val and test once each, for all of the module's score maps."""
    trainer.validate(module, datamodule=data, verbose=False)
    module.recorded_map = select_score_map(module.curves["val"])  # of this map, results by image
    trainer.test(module, datamodule=data, verbose=False)
    truth = {
        split: data.ground_truth(split, list(range(len(data.records[split]))))
        for split in ("val", "test")
        if len(data.records[split].boxes)
    }
    if not len(data.records["test"].boxes) and not data.records["test"].masks:
        log.warning("the test photos have neither boxes nor masks: localization is not measured, classification alone")
    found = compute_evaluation(module.curves["test"], module.curves["val"], truth, data.frame)
    kept = module.test_outputs
    names, frames = data.class_names, dict.fromkeys(kept.scans, data.frame)
    predicted = {i: "(another)" if label == OTHER else names[label] for i, label in kept.predicted.items()}
    images = image_results(data.records["test"], kept.scans, predicted, frames, found.threshold)
    return replace(found, images=images)


def evaluate(cfg: DictConfig) -> Evaluation:
    """Evaluate what `cfg` (`conf/evaluate.yaml`) names: a checkpoint, or a folder of any method's score maps.

    Raises:
        UserError: neither or both are given; no checkpoint, other classes than it was trained on; maps, metadata or data
            that cannot be read.
    """
    check_ranges(cfg)
    if (cfg.checkpoint is None) == (cfg.maps is None):
        raise UserError("give either checkpoint=<file> or maps=<folder of .npy maps> metadata=<folder>")
    if cfg.maps is not None:
        if cfg.classifier is not None:
            raise UserError(f"classifier={cfg.classifier} is for checkpoint=...; with maps=... give predictions=<file>")
        return evaluate_maps(cfg)
    return _evaluate_checkpoint(cfg)


def _evaluate_checkpoint(cfg: DictConfig) -> Evaluation:
    """Evaluate a checkpoint; metrics, tables, report and gallery go to `cfg.output_dir`.

    The checkpoint brings its data set's config; `cfg.dataset` and `cfg.root` replace it or say where it is now.
    """
    configure_logging()
    started = datetime.now(UTC)
    network, description = load_network(cfg.checkpoint)
    trained = OmegaConf.create(description.config)
    if cfg.get("dataset"):
        trained.dataset = cfg.dataset
        OmegaConf.resolve(trained)
        trained.data.reader = trained.dataset.reader
    if cfg.root is not None:
        _rebase_root(trained.data.reader, str(cfg.root))
    trained.data.crop, trained.data.resize = description.crop, max(description.crop, trained.data.resize)
    trained.data.eval_batch_size, trained.data.num_workers = cfg.eval_batch_size, cfg.num_workers
    trained.data.worker_timeout = cfg.worker_timeout
    # how training photos were read: none are, here, and older checkpoints do not say
    trained.data.decode, trained.data.augment, trained.data.shards = "full", "workers", None
    trained.module.score_map, trained.module.num_thresholds = cfg.score_map.name, cfg.num_thresholds
    # for training alone
    trained.module.compile, trained.module.channels_last = False, True
    trained.module.optimizer, trained.module.schedule = None, None
    nodes = OmegaConf.to_container(trained, resolve=True)
    assert isinstance(nodes, dict)
    check_allowed_targets(nodes["module"], cfg.checkpoint)
    if not cfg.get("dataset"):
        check_allowed_targets(nodes["data"], cfg.checkpoint)

    data = build_data(trained)
    if data.class_names != description.class_names:
        raise UserError(
            f"checkpoint={cfg.checkpoint} knows {len(description.class_names)} classes "
            f"({description.class_names[0]}, ...), the data set has {len(data.class_names)} ({data.class_names[0]}, ...); "
            "evaluate it on the classes it was trained on"
        )
    module = build_module(trained, network)
    if cfg.classifier is not None:
        data.setup()
        module.external_classifier = open_classifier(str(cfg.classifier), data.class_names, data.records["test"].images)
    folder = Path(cfg.output_dir)
    if (folder / "checkpoints").is_dir():
        raise UserError(
            f"output_dir={folder} is a training run's own folder, whose results would be lost; give another"
        )
    folder.mkdir(parents=True, exist_ok=True)
    trainer = build_evaluator(cfg, folder)
    evaluation = evaluate_module(trainer, module, data)
    OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
    facts = provenance(
        None,
        started,
        trainer.strategy.root_device,
        checkpoint=str(cfg.checkpoint),
        score_map=evaluation.score_map,
        classifier=cfg.classifier,
    )
    with inference_context(trainer, network):
        write_evaluation(
            folder / "metrics.json", evaluation, facts, str(cfg.checkpoint), data.records["test"],
            lambda index: render_sample(network, data, evaluation.score_map, index), cfg.report_images,
        )  # fmt: skip
        if cfg.gallery_images:
            write_gallery(
                folder / "gallery", network, data, module.loss, evaluation.score_map, evaluation.threshold,
                cfg.gallery_images,
            )  # fmt: skip
    log.info("results: %s", folder)
    return evaluation


def _rebase_root(reader: DictConfig, root: str) -> None:
    """Let a reader look below another root: for the photos, and for whatever else lay below the one in training."""
    before = str(reader.root).rstrip("/")
    for key, value in reader.items():
        if isinstance(value, str) and (value.rstrip("/") == before or value.startswith(f"{before}/")):
            reader[key] = root + value.removeprefix(before)


@contextmanager
def inference_context(trainer: pl.Trainer, network: SPGNetwork) -> Iterator[None]:
    """Have the network where, and in the precision, it was evaluated in: Lightning has moved it back to the host."""
    network.to(trainer.strategy.root_device)
    with trainer.precision_plugin.forward_context():
        yield


def render_sample(network: SPGNetwork, data: ImageDataModule, score_map: str, index: int) -> Picture:
    """Return what a report shows of a test photo: its label's score map, as the evaluation saw it."""
    sample = data.dataset("test")[index]
    assert sample is not None  # it has been evaluated
    device = next(network.parameters()).device
    with score_map_context(network, network.stem.normalize(sample["image"][None].to(device)), [score_map]) as seen:
        values = seen.map(score_map, torch.tensor([sample["label"]], device=device))[0, 0]
    return Picture(values.cpu().numpy(), sample["image"].permute(1, 2, 0).numpy())


def main() -> None:
    """Run the command."""
    run_command("evaluate")


if __name__ == "__main__":
    main()
