"""The command `evaluate`: a checkpoint's network, or any method's score maps, through the same metrics and report.

Heavy libraries are imported inside the functions, so that `--help` and a wrong override are answered at once.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from spg_lightning.config.command_line import run_command
from spg_lightning.errors import UserError
from spg_lightning.utils.run_dir import RunDir
from spg_lightning.utils.validation import check_ranges

if TYPE_CHECKING:
    from spg_lightning.checkpoints.metadata import CheckpointMetadata
    from spg_lightning.datamodule import ImageDataModule
    from spg_lightning.evaluation.results import Evaluation

log = logging.getLogger(__name__)


def evaluate(cfg: DictConfig) -> Evaluation:
    """Evaluate what `cfg` (`conf/evaluate.yaml`) names: a checkpoint, or a folder of any method's score maps.

    Raises:
        UserError: neither or both are given; no checkpoint, or other classes than it was trained on; maps, metadata or data
            that cannot be read.
    """
    check_ranges(cfg)
    if (cfg.checkpoint is None) == (cfg.maps is None):
        raise UserError(
            "give either checkpoint=<file> or maps=<folder of .npy maps>, the latter with metadata=<folder> or boxes=<file> images=<folder>"
        )
    if cfg.crops is not None and cfg.classifier is not None:
        raise UserError(
            f"crops={cfg.crops} averages the checkpoint's own class scores; leave out classifier= or crops="
        )
    if cfg.maps is None and cfg.boxes is not None:
        raise UserError(
            f"boxes={cfg.boxes} is for maps=...; with checkpoint=... give dataset=folder dataset.reader.boxes="
        )
    if cfg.maps is None:
        return _evaluate_checkpoint(cfg)
    for key in ("classifier", "crops", "perturbation_steps"):
        if cfg[key] is not None:
            instead = "leave it out" if key == "perturbation_steps" else "with maps=... give predictions=<file>"
            raise UserError(f"{key}={cfg[key]} is for checkpoint=...; {instead}")
    from spg_lightning.evaluation.map_folder import evaluate_maps

    return evaluate_maps(cfg)


def _evaluate_checkpoint(cfg: DictConfig) -> Evaluation:
    """Evaluate a checkpoint; metrics, tables, report and gallery go to `cfg.output_dir`."""
    from spg_lightning.callbacks.pseudo_boxes import AUTO, use_pseudo_boxes, write_pseudo_boxes
    from spg_lightning.checkpoints.rebuild import load_network, use_stem_of_checkpoint
    from spg_lightning.config.build import build_data, build_evaluator, build_module, build_training_free
    from spg_lightning.data.truncated_images import truncation_warning
    from spg_lightning.evaluation.classifiers import open_classifier
    from spg_lightning.evaluation.network_evaluation import evaluate_module, inference_context, render_sample
    from spg_lightning.evaluation.perturbation import insertion_and_deletion
    from spg_lightning.evaluation.ten_crop import TenCrop
    from spg_lightning.localizer import Localizer
    from spg_lightning.reporting.gallery import write_gallery
    from spg_lightning.reporting.run_page import write_evaluation
    from spg_lightning.utils.logging import configure_logging, hide_lightning_tips
    from spg_lightning.utils.provenance import provenance

    configure_logging()
    hide_lightning_tips()
    started, folder = datetime.now(UTC), RunDir(_output_dir(cfg))
    network, metadata = load_network(cfg.checkpoint, cfg.trust)
    use_stem_of_checkpoint(cfg, metadata)
    trained = _evaluation_config(cfg, metadata)
    data = build_data(trained)
    _check_classes(cfg, metadata, data)
    module = build_module(trained, network, metadata.score_map_states)
    test = data.records["test"]
    if cfg.crops is not None:
        module.external_classifier = TenCrop(network, data.files("test"), data.resize, data.crop)
    elif cfg.classifier is not None:
        module.external_classifier = open_classifier(str(cfg.classifier), data.class_names, test.images, cfg.trust)
    folder.path.mkdir(parents=True, exist_ok=True)
    trainer = build_evaluator(cfg, folder.path)
    training_free = build_training_free(trained)
    source = cfg.pseudo_boxes or trained.get("pseudo_boxes", AUTO)
    use_pseudo_boxes(source, training_free, network.to(trainer.strategy.root_device), data, trainer)
    evaluation = replace(evaluate_module(trainer, module, data, training_free, cfg.image_rows), crops=cfg.crops)
    if truncated := data.truncated_images():
        log.warning("%s", truncation_warning(truncated, "on_corrupt_image"))
    OmegaConf.save(cfg, folder.config, resolve=True)
    score_map = evaluation.score_map
    localizer = Localizer(network, {score_map: module.localizer.score_maps[score_map]}, evaluation.threshold)
    facts = provenance(
        None, started, trainer.strategy.root_device, checkpoint=str(cfg.checkpoint), score_map=score_map,
        classifier=cfg.classifier, crops=cfg.crops, pseudo_boxes=evaluation.pseudo_boxes,
    )  # fmt: skip
    write_pseudo_boxes(folder.pseudo_boxes, data)
    with inference_context(trainer, network):
        if cfg.perturbation_steps is not None:
            measures = insertion_and_deletion(localizer, data, cfg.perturbation_steps)
            added = {f"test/{name}": value for name, value in measures.items()}
            evaluation = replace(
                evaluation, per_map=evaluation.per_map | {score_map: evaluation.per_map[score_map] | added}
            )
        write_evaluation(
            folder.metrics, evaluation, facts, str(cfg.checkpoint), test,
            lambda index: render_sample(localizer, data, index), cfg.report_images,
        )  # fmt: skip
        if cfg.gallery_images:
            write_gallery(folder.gallery, localizer, data, module.loss, cfg.gallery_images)
    log.info("results: %s", folder.path)
    return evaluation


def _output_dir(cfg: DictConfig) -> Path:
    path = Path(cfg.output_dir)
    if RunDir(path).checkpoints.is_dir():
        raise UserError(f"output_dir={path} is a training run's folder, and its results would be lost; choose another")
    return path


def _evaluation_config(cfg: DictConfig, metadata: CheckpointMetadata) -> DictConfig:
    """Return the checkpoint's config with the evaluation's settings.

    `cfg.dataset` replaces the checkpoint's data set, `cfg.root` its location. Training-only keys are reset: they are not
    needed, and checkpoints of older versions may lack them.
    """
    from spg_lightning.checkpoints.allowed_targets import check_allowed_targets
    from spg_lightning.checkpoints.rebuild import PROCESSING, rebase_root

    trained = OmegaConf.create(metadata.config)
    if cfg.get("dataset"):
        trained.dataset = cfg.dataset
        OmegaConf.resolve(trained)
        trained.data.reader = trained.dataset.reader
    if cfg.root is not None:
        rebase_root(trained.data.reader, str(cfg.root))
    data, module = trained.data, trained.module
    data.crop, data.resize = metadata.crop, max(metadata.crop, data.resize)
    data.eval_batch_size, data.num_workers, data.worker_timeout = (
        cfg.eval_batch_size,
        cfg.num_workers,
        cfg.worker_timeout,
    )
    data.on_corrupt_image = cfg.on_corrupt_image or data.on_corrupt_image
    data.merge_classes = cfg.merge_classes or data.get("merge_classes")
    data.decode, data.augment, data.shards, data.augmentation = "full", "workers", None, None
    own_maps = OmegaConf.to_container(trained, resolve=True).get("score_map", {}).get("maps") or {}  # type: ignore[union-attr]
    check_allowed_targets(own_maps, cfg.checkpoint, cfg.trust)
    trained.score_map = {"name": cfg.score_map.name, "maps": {**own_maps, **(cfg.score_map.get("maps") or {})}}
    stored = {key: OmegaConf.to_container(trained).get(key) for key in (*PROCESSING, "training_free")}  # type: ignore[union-attr]
    check_allowed_targets(stored, cfg.checkpoint, cfg.trust)
    for key in PROCESSING:
        node = stored[key]
        OmegaConf.update(trained, key, cfg.get(key) or node, merge=False, force_add=True)
    module.num_thresholds = cfg.num_thresholds
    module.choose_by = cfg.choose_by or module.get("choose_by", "gt_known")
    module.compile, module.channels_last, module.optimizer, module.schedule = False, True, None, None
    nodes = OmegaConf.to_container(trained, resolve=True)
    assert isinstance(nodes, dict)
    check_allowed_targets(nodes["module"], cfg.checkpoint, cfg.trust)
    if not cfg.get("dataset"):
        check_allowed_targets(nodes["data"], cfg.checkpoint, cfg.trust)
    return trained


def _check_classes(cfg: DictConfig, metadata: CheckpointMetadata, data: ImageDataModule) -> None:
    if data.class_names != metadata.class_names:
        raise UserError(
            f"checkpoint={cfg.checkpoint} knows {len(metadata.class_names)} classes ({metadata.class_names[0]}, ...), the data "
            f"set has {len(data.class_names)} ({data.class_names[0]}, ...); evaluate it on the classes it was trained on"
        )


def main() -> None:
    """Run the command."""
    run_command("evaluate")


if __name__ == "__main__":
    main()
