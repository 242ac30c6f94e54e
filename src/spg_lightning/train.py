"""The command `train`: fit, evaluate, and write everything to the run folder.

Heavy libraries are imported inside the functions, so that `--help` and a wrong override are answered at once.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from spg_lightning.config.command_line import run_command
from spg_lightning.config.sweep import hydra_quote
from spg_lightning.errors import RunPruned, UserError
from spg_lightning.utils.atomic import atomically
from spg_lightning.utils.distributed import is_global_zero, is_restart, kill_other_processes
from spg_lightning.utils.garbage_collection import paused_collection
from spg_lightning.utils.logging import configure_logging, hide_lightning_tips
from spg_lightning.utils.output_dir_lock import output_dir_lock
from spg_lightning.utils.run_dir import RunDir
from spg_lightning.utils.signals import RunInterrupted, StopSignals
from spg_lightning.utils.study_file import trial_of_this_process
from spg_lightning.utils.validation import check_ranges

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from torch import Tensor

    from spg_lightning.checkpoints.resume_state import ResumeState
    from spg_lightning.datamodule import ImageDataModule
    from spg_lightning.evaluation.results import Evaluation
    from spg_lightning.module import SPGModule

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """The result of a training run.

    Attributes:
        evaluation: counts and metrics on val and test.
        metrics: as in metrics.json.
        checkpoint: of the evaluated weights.
        output_dir: the run folder.
    """

    evaluation: Evaluation
    metrics: dict[str, float]
    checkpoint: Path
    output_dir: Path


def train(cfg: DictConfig) -> TrainResult:
    """Train and evaluate one network as `conf/train.yaml` describes; all files go to `cfg.output_dir`.

    Raises:
        UserError: a mistake in the config, the data or the weights that the user can fix.
        RunInterrupted: a signal stopped the run; `resume=auto` resumes it.
        RunPruned: it was a hopeless trial of a search.
    """
    check_ranges(cfg)
    run_dir = RunDir(Path(cfg.output_dir))
    with StopSignals() as signals, _resume_hints(run_dir), output_dir_lock(run_dir.path):
        return _train(cfg, run_dir, signals)


def _train(cfg: DictConfig, run_dir: RunDir, signals: StopSignals) -> TrainResult:
    configure_logging()
    log.info("%s, %s, %s -> %s", cfg.dataset.name, cfg.stem.name, cfg.method.name, run_dir.path)
    with paused_collection():  # these imports take seconds
        import pytorch_lightning as pl

        from spg_lightning.callbacks.collapse_warning import CollapseWarning
        from spg_lightning.callbacks.non_finite_guard import NonFiniteGuard
        from spg_lightning.callbacks.per_rank_seed import PerRankSeed
        from spg_lightning.callbacks.pruning import Pruning
        from spg_lightning.callbacks.pseudo_boxes import PseudoBoxes
        from spg_lightning.callbacks.resumable_checkpoint import ResumableCheckpoint
        from spg_lightning.callbacks.save_metadata import SaveMetadata
        from spg_lightning.checkpoints.metadata import CheckpointMetadata
        from spg_lightning.checkpoints.output_dir import claim_output_dir
        from spg_lightning.config.build import (
            build_data,
            build_module,
            build_network,
            build_trainer,
            build_training_free,
        )
        from spg_lightning.data.truncated_images import truncation_warning
        from spg_lightning.evaluation.network_evaluation import evaluate_module
        from spg_lightning.utils.instantiate import instantiate_node

    hide_lightning_tips()
    started = datetime.now(UTC)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    data = build_data(cfg)
    cfg = _fit_to_few_images(cfg, data)
    config = _resolved_config(cfg)
    state = _resume_state(cfg, run_dir, config)
    module = build_module(cfg, build_network(cfg, num_classes=len(data.class_names)))
    checkpointer = ResumableCheckpoint(
        run_dir, cfg.checkpoint_every_steps, state, signals, num_train_images=len(data.records["train"])
    )
    states = _fit_score_maps(module, data)
    metadata = CheckpointMetadata(config, data.class_names, data.crop, {}, states)
    guard = NonFiniteGuard(run_dir, cfg.trainer.log_every_n_steps)
    training_free = build_training_free(cfg)
    own: list[pl.Callback] = [PerRankSeed(cfg.seed), guard, checkpointer, SaveMetadata(metadata), CollapseWarning()]
    own.append(PseudoBoxes(cfg.pseudo_boxes, training_free))
    if trial := trial_of_this_process():
        own.append(Pruning(trial, cfg.objective))
    if cfg.get("seeds") is not None:
        own.append(instantiate_node(cfg.seeds, _partial_=True)(maps=training_free))
    trainer = build_trainer(cfg, own)
    if state is not None:
        _fast_forward(state, trainer, data)
    if is_global_zero():
        claim_output_dir(run_dir, state)
        with atomically(run_dir.config, "w") as file:  # a sweep's table reads it meanwhile
            OmegaConf.save(OmegaConf.create(config), file)
    counts = ", ".join(f"{len(records)} {split}" for split, records in data.records.items())
    log.info("%s images of %d classes", counts, len(data.class_names))
    with _closing_loggers(trainer):
        _start_wandb(trainer, config, module, data, run_dir, resume=_continues(cfg, state, run_dir))
        trainer.fit(module, datamodule=data, ckpt_path=state.path if state else None, weights_only=True)
        fit_seconds = checkpointer.seconds + (datetime.now(UTC) - started).total_seconds()
        checkpoint = _restore_weights(cfg.eval_checkpoint, trainer, module, run_dir)
        evaluation = evaluate_module(trainer, module, data, training_free, cfg.image_rows)
        truncated = data.truncated_images()
        if trainer.is_global_zero:
            if truncated:
                log.warning("%s", truncation_warning(truncated, "data.on_corrupt_image"))
            facts = {
                "fit_seconds": round(fit_seconds, 1), "steps": trainer.global_step, "weights": checkpoint.stem,
                "processes": trainer.world_size, "resumed_after_steps": checkpointer.resume_steps,
            }  # fmt: skip
            _write_results(cfg, run_dir, checkpoint, trainer, module, data, evaluation, started, facts)
    return TrainResult(evaluation, evaluation.metrics, checkpoint, run_dir.path)


@contextmanager
def _resume_hints(run_dir: RunDir) -> Iterator[None]:
    """Add to an interruption, or to an error of a full disk, how to resume the run."""
    try:
        yield
    except RunInterrupted as stop:
        hint = "before its first checkpoint"
        if run_dir.resume.is_file() or run_dir.previous.is_file():
            hint = f"; resume with the same command and resume=auto output_dir={hydra_quote(run_dir.path)}"
        raise RunInterrupted(
            stop.signal, f"stopped by {stop.signal.name}{'' if hint[0] == ';' else ' '}{hint}"
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"{run_dir.path}: {error.strerror}; make room, then resume with resume=auto") from error


def _fit_to_few_images(cfg: DictConfig, data: ImageDataModule) -> DictConfig:
    """Return the config with the epochs that `min_train_steps` needs, and batches no larger than the training set.

    As many validations as before are spread over the epochs.
    """
    data.setup()
    count, epochs = len(data.records["train"]), cfg.trainer.max_epochs
    if not cfg.min_train_steps or not count or not isinstance(epochs, int) or epochs < 1:
        return cfg
    cfg = cfg.copy()
    if count < data.batch_size:
        log.info("batches of %d, not %d: there are no more training images", count, data.batch_size)
        cfg.data.batch_size = data.batch_size = count
    an_epoch = count // data.batch_size
    if an_epoch * epochs >= cfg.min_train_steps:
        return cfg
    needed = ceil(cfg.min_train_steps / an_epoch)
    cfg.trainer.max_epochs = needed
    cfg.trainer.check_val_every_n_epoch = max(needed * (cfg.trainer.check_val_every_n_epoch or 1) // epochs, 1)
    log.info("%d epochs instead of %d: few images, and min_train_steps=%d", needed, epochs, cfg.min_train_steps)
    return cfg


def _resolved_config(cfg: DictConfig) -> dict[str, Any]:
    """Return the config as plain data. "auto" would resolve differently on another machine."""
    from spg_lightning.config.build import num_workers_of, precision_of

    if cfg.eval_checkpoint not in ("last", "best"):
        raise UserError(f"eval_checkpoint={cfg.eval_checkpoint}: choose last or best")
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    config["trainer"]["precision"], config["data"]["num_workers"] = precision_of(cfg.trainer), num_workers_of(cfg)
    return {str(key): value for key, value in config.items()}


def _resume_state(cfg: DictConfig, run_dir: RunDir, config: dict[str, Any]) -> ResumeState | None:
    from spg_lightning.checkpoints.output_dir import check_not_over, check_output_dir, resume_of_restart
    from spg_lightning.checkpoints.resume_state import find_resume_state

    if is_restart() or cfg.resume is not None:
        check_not_over(run_dir, cfg.overwrite)
    if is_restart():
        return find_resume_state(resume_of_restart(cfg.resume, run_dir), run_dir, config)
    if is_global_zero():
        check_output_dir(run_dir, cfg.resume, cfg.overwrite)
    return find_resume_state(cfg.resume, run_dir, config)


def _fast_forward(state: ResumeState, trainer: pl.Trainer, data: ImageDataModule) -> None:
    from spg_lightning.loggers.csv import ResumableCSVLogger

    num_images = len(data.records["train"])
    if (data.class_names, num_images) != (state.class_names, state.num_train_images):
        raise UserError(
            f"resume={state.path} was trained on {state.num_train_images} images of {len(state.class_names)} classes; "
            f"the data set now has {num_images} of {len(data.class_names)}"
        )
    data.fast_forward(state.epoch, state.batch)
    for logger in trainer.loggers:
        if isinstance(logger, ResumableCSVLogger):
            logger.fast_forward(state.step)


def _fit_score_maps(module: SPGModule, data: ImageDataModule) -> dict[str, dict[str, Tensor]]:
    """Fit the score maps that learn from the training images without training, and return what they learnt, by name."""
    from spg_lightning.data.images import batches
    from spg_lightning.score_maps.training_free import training_free_parts

    states: dict[str, dict[str, Tensor]] = {}
    for name, score_map in training_free_parts(module.localizer.score_maps):
        if not score_map.learns:
            continue
        if name not in states:
            score_map.fit(batch["image"] / 255 for batch in batches(data.dataset("train"), 16))
            states[name] = score_map.state()
        score_map.load_state(states[name])
    return states


def _continues(cfg: DictConfig, state: ResumeState | None, run_dir: RunDir) -> bool:
    """Return whether this run continues the one of its folder, also if that one ended before its first checkpoint."""
    if state is None:
        return cfg.resume is not None or is_restart()
    return state.path.resolve().parent == run_dir.checkpoints.resolve()


def _start_wandb(
    trainer: pl.Trainer, config: dict[str, Any], module: SPGModule, data: ImageDataModule, run_dir: RunDir, resume: bool
) -> None:
    """Give W&B the config, the run to continue, and the data set."""
    from spg_lightning.loggers.wandb import WandbResultsLogger

    for logger in trainer.loggers:
        if isinstance(logger, WandbResultsLogger):
            logger.set_config(config)
            logger.set_id_file(run_dir.wandb_id, resume)
            logger.log_dataset(config["dataset"]["name"], data.records)
            logger.watch_network(module.network)


@contextmanager
def _closing_loggers(trainer: pl.Trainer) -> Iterator[None]:
    """Close all loggers at the end; after an error also alert W&B, and kill the other processes."""
    from spg_lightning.loggers.wandb import WandbResultsLogger

    status = "failed"
    try:
        yield
        status = "success"
    except BaseException as error:
        kill_other_processes(trainer)
        if isinstance(error, RunPruned):
            status = "pruned"
        for logger in trainer.loggers:
            if isinstance(logger, WandbResultsLogger):
                logger.log_error(error)
        raise
    finally:
        for logger in trainer.loggers:
            logger.finalize(status)
            if isinstance(logger, WandbResultsLogger):
                logger.close(failed=status == "failed")


def _restore_weights(which: str, trainer: pl.Trainer, module: SPGModule, run_dir: RunDir) -> Path:
    """Save the last weights, load those to evaluate into every process, and return their file."""
    import torch

    from spg_lightning.callbacks.best_checkpoint import BestCheckpoint
    from spg_lightning.checkpoints.metadata import read_checkpoint

    if trainer.world_size > 1:
        # the batch norm statistics differ between processes, and rank 0 saves its own
        for buffer in module.network.buffers():
            first = buffer.to(trainer.strategy.root_device)
            torch.distributed.broadcast(first, src=0)
            buffer.copy_(first)
    trainer.save_checkpoint(run_dir.last)
    path = run_dir.last
    if which == "best":
        saves_best = any(isinstance(callback, BestCheckpoint) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        if trainer.strategy.broadcast(saves_best and run_dir.best.is_file()):
            path = run_dir.best
        else:
            log.warning(
                "eval_checkpoint=best: no validation has written %s (too few steps, or callbacks.best=null); the last weights "
                "are evaluated", run_dir.best,
            )  # fmt: skip
    path = Path(trainer.strategy.broadcast(str(path)))  # torchrun's processes name their own folders, by the second
    if which == "best":
        module.network.load_state_dict(read_checkpoint(path)[1])
    return path


def _write_results(
    cfg: DictConfig,
    run_dir: RunDir,
    checkpoint: Path,
    trainer: pl.Trainer,
    module: SPGModule,
    data: ImageDataModule,
    evaluation: Evaluation,
    started: datetime,
    facts: dict[str, Any],
) -> None:
    """Write metrics, tables, pages, pictures and provenance; store the chosen map and threshold in the checkpoint."""
    from pytorch_lightning.loggers import CSVLogger

    from spg_lightning.callbacks.pseudo_boxes import write_pseudo_boxes
    from spg_lightning.checkpoints.finished_run import remove_unneeded_checkpoints, share_equal_weights
    from spg_lightning.checkpoints.metadata import add_localization
    from spg_lightning.evaluation.fit_confidence import fit_confidence
    from spg_lightning.evaluation.network_evaluation import inference_context, render_sample
    from spg_lightning.localizer import Localizer
    from spg_lightning.loggers.wandb import WandbResultsLogger
    from spg_lightning.reporting.gallery import write_gallery
    from spg_lightning.reporting.run_page import write_evaluation
    from spg_lightning.reporting.samples import collect_views
    from spg_lightning.utils.provenance import provenance

    score_map, threshold = evaluation.score_map, evaluation.threshold
    localizer = Localizer(module.network, {score_map: module.localizer.score_maps[score_map]}, threshold)
    for logger in trainer.loggers:
        if not isinstance(logger, CSVLogger):  # one row of all final metrics would widen every other row
            logger.log_metrics(evaluation.metrics, step=trainer.global_step)
    write_pseudo_boxes(run_dir.pseudo_boxes, data)
    with inference_context(trainer, module.network):
        localizer.confidence = fit_confidence(localizer, data)
        add_localization(checkpoint, score_map, threshold, localizer.confidence.as_plain())
        for other in (run_dir.best, run_dir.last):
            share_equal_weights(checkpoint, other)
        if cfg.gallery_images:
            write_gallery(run_dir.gallery, localizer, data, module.loss, cfg.gallery_images)
        images = {split: len(records) for split, records in data.records.items()}
        facts = provenance(
            cfg.seed, started, trainer.strategy.root_device, score_map=score_map, photos=images,
            pseudo_boxes=evaluation.pseudo_boxes, **facts,
        )  # fmt: skip
        title = f"{cfg.dataset.name} / {cfg.stem.name} / {cfg.method.name} / seed {cfg.seed}"
        write_evaluation(
            run_dir.metrics, evaluation, facts, title, data.records["test"],
            lambda index: render_sample(localizer, data, index), cfg.report_images,
        )  # fmt: skip
        for logger in trainer.loggers:
            if isinstance(logger, WandbResultsLogger):
                views = collect_views(localizer, data, module.loss, cfg.gallery_images)
                logger.log_evaluation(evaluation, views, data.class_names, facts)
                logger.log_final_checkpoints(run_dir.best, run_dir.last)
    remove_unneeded_checkpoints(run_dir, checkpoint, cfg.keep_checkpoints, cfg.keep_resume_state)
    log.info("run folder: %s", run_dir.path)


def main() -> None:
    """Run the command."""
    run_command("train")


if __name__ == "__main__":
    main()
