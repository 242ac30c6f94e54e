"""Training: fit, evaluate, save, draw."""

import errno
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import CSVLogger

from spg_lightning.callbacks.best_checkpoint import BestCheckpoint
from spg_lightning.callbacks.non_finite_guard import NonFiniteGuard
from spg_lightning.callbacks.resumable_checkpoint import ResumableCheckpoint
from spg_lightning.checkpoints.io import AtomicCheckpointIO
from spg_lightning.checkpoints.metadata import CheckpointMetadata, SaveMetadata, add_localization, read_checkpoint
from spg_lightning.checkpoints.resume_state import PREVIOUS, ResumeState, find_resume_state, latest_checkpoint
from spg_lightning.checkpoints.taking_over import began_with, take_over, throw_away
from spg_lightning.config.build import (
    build_data,
    build_module,
    build_network,
    build_trainer,
    num_workers_of,
    precision_of,
)
from spg_lightning.config.command_line import run_command
from spg_lightning.config.sweep import hydra_quote
from spg_lightning.config.validation import check_ranges
from spg_lightning.datamodule import ImageDataModule
from spg_lightning.errors import UserError
from spg_lightning.evaluate import evaluate_module, inference_context, render_sample
from spg_lightning.evaluation.results import Evaluation
from spg_lightning.loggers.csv import ResumableCSVLogger
from spg_lightning.loggers.wandb import WandbResultsLogger
from spg_lightning.module import SPGModule
from spg_lightning.reporting.gallery import write_gallery
from spg_lightning.reporting.run_page import write_evaluation
from spg_lightning.reporting.samples import collect_views
from spg_lightning.utils.distributed import is_global_zero, is_restart, kill_other_processes
from spg_lightning.utils.logging import configure_logging
from spg_lightning.utils.output_dir_lock import output_dir_lock
from spg_lightning.utils.provenance import provenance
from spg_lightning.utils.signals import RunInterrupted, StopSignals

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What a training run gives.

    Attributes:
        evaluation: curves and metrics of val and test.
        metrics: as written to metrics.json.
        checkpoint: the weights that were evaluated.
        output_dir: the run folder.
    """

    evaluation: Evaluation
    metrics: dict[str, float]
    checkpoint: Path
    output_dir: Path


class PerRankSeed(pl.Callback):
    """Gives every process its own random numbers for dropout and the like; alike, they would drop the same units."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Seed the processes after the first anew."""
        if trainer.global_rank:
            torch.manual_seed(self.seed + 1_000_003 * trainer.global_rank)


def train(cfg: DictConfig) -> TrainResult:
    """Train and evaluate one network as `conf/train.yaml` describes it; everything is written to `cfg.output_dir`.

    Raises:
        UserError: anything about the config, the data or the weights that the user has to mend.
        Stopped: a signal asked to end; `resume=auto` goes on.
    """
    check_ranges(cfg)
    folder = Path(cfg.output_dir)
    with StopSignals() as signals:
        try:
            with output_dir_lock(folder):
                return _train(cfg, folder, signals)
        except RunInterrupted as stop:
            raise RunInterrupted(stop.signal, _how_to_go_on(stop, folder)) from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(f"{folder}: {error.strerror}; make room, then go on with resume=auto") from error


def _how_to_go_on(stop: RunInterrupted, folder: Path) -> str:
    if latest_checkpoint(folder / "checkpoints") is None:
        return f"stopped by {stop.signal.name} before its first checkpoint"
    return (
        f"stopped by {stop.signal.name}; go on with the same command and resume=auto output_dir={hydra_quote(folder)}"
    )


def _train(cfg: DictConfig, folder: Path, signals: StopSignals) -> TrainResult:
    configure_logging()
    started = datetime.now(UTC)
    if cfg.eval_checkpoint not in ("last", "best"):
        raise UserError(f"eval_checkpoint={cfg.eval_checkpoint}: choose last or best")
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    # "auto" would mean another one on another machine
    plain["trainer"]["precision"], plain["data"]["num_workers"] = precision_of(cfg.trainer), num_workers_of(cfg)
    checkpoints = folder / "checkpoints"
    resume = cfg.resume
    if is_restart() and (resume is None or began_with(resume, folder)):
        resume = "auto"  # it has come further
    position = find_resume_state(resume, checkpoints, {str(key): value for key, value in plain.items()})
    pl.seed_everything(cfg.seed, workers=True, verbose=False)

    data = build_data(cfg)
    network = build_network(cfg, num_classes=len(data.class_names))
    module = build_module(cfg, network)
    description = CheckpointMetadata(
        config={str(key): value for key, value in plain.items()},
        class_names=data.class_names,
        crop=data.crop,
        localization={},
    )
    keeper = ResumableCheckpoint(checkpoints, cfg.checkpoint_every_steps, position, signals)
    trainer = build_trainer(
        cfg,
        [
            PerRankSeed(cfg.seed),
            NonFiniteGuard(checkpoints, cfg.trainer.log_every_n_steps),
            keeper,
            SaveMetadata(description),
        ],
    )
    trainer.strategy.checkpoint_io = AtomicCheckpointIO()
    if position is not None:
        _go_on(position, trainer, data)
    made_again = None
    if (
        is_global_zero()
    ):  # not before all is known to be well: a mistake in the command is not to cost the run that was here
        made_again = take_over(folder, cfg, position.path if position else None)
        OmegaConf.save(OmegaConf.create(plain), folder / "config.yaml")
    log.info(
        "%s, %s, %s: %d train, %d val, %d test photos of %d classes -> %s",
        cfg.dataset.name, cfg.stem.name, cfg.method.name,
        *(len(data.records[split]) for split in ("train", "val", "test")), len(data.class_names), folder,
    )  # fmt: skip
    for logger in trainer.loggers:
        if isinstance(logger, WandbResultsLogger):
            logger.set_config(description.config)
    failed = True
    try:
        trainer.fit(module, datamodule=data, ckpt_path=position.path if position else None, weights_only=True)
        fit_seconds = keeper.seconds + (datetime.now(UTC) - started).total_seconds()
        _share_buffers(trainer, module)
        checkpoint = _checkpoint(trainer, checkpoints, cfg.eval_checkpoint)
        if cfg.eval_checkpoint == "best":
            _restore(module, checkpoint)
        evaluation = evaluate_module(trainer, module, data)
        if trainer.is_global_zero:
            # into the weights that were measured: a threshold is theirs alone
            add_localization(checkpoint, evaluation.score_map, evaluation.threshold)
            with inference_context(trainer, module.network):
                _report(
                    cfg, evaluation, module, data, folder, started, round(fit_seconds, 1), trainer, keeper.resume_steps, checkpoint.stem,
                )  # fmt: skip
            (checkpoints / PREVIOUS).unlink(missing_ok=True)  # the last one stays, for more epochs
            if made_again is not None:
                throw_away(made_again)
        failed = False
    except BaseException:
        kill_other_processes(trainer)
        raise
    finally:
        for logger in trainer.loggers:
            logger.finalize("failed" if failed else "success")
            if isinstance(logger, WandbResultsLogger):
                logger.close(failed)
    return TrainResult(evaluation, evaluation.metrics, checkpoint, folder)


def _report(
    cfg: DictConfig,
    evaluation: Evaluation,
    module: SPGModule,
    data: ImageDataModule,
    folder: Path,
    started: datetime,
    fit_seconds: float,
    trainer: pl.Trainer,
    resume_steps: list[int],
    weights: str,
) -> None:
    module.network.eval()  # Lightning has put it back into training mode, in which pictures would be others
    for logger in trainer.loggers:
        if not isinstance(
            logger, CSVLogger
        ):  # metrics.json and score_maps.csv hold them; one row would widen every other
            logger.log_metrics(evaluation.metrics, step=trainer.global_step)
    if cfg.gallery_images:
        write_gallery(
            folder / "gallery", module.network, data, module.loss, evaluation.score_map, evaluation.threshold,
            cfg.gallery_images,
        )  # fmt: skip
    facts = provenance(
        cfg.seed, started, trainer.strategy.root_device, fit_seconds=fit_seconds, steps=trainer.global_step, score_map=evaluation.score_map,
        weights=weights, photos={split: len(records) for split, records in data.records.items()}, processes=trainer.world_size,
        resumed_after_steps=resume_steps,
    )  # fmt: skip
    title = f"{cfg.dataset.name} / {cfg.stem.name} / {cfg.method.name} / seed {cfg.seed}"
    write_evaluation(
        folder / "metrics.json", evaluation, facts, title, data.records["test"],
        lambda index: render_sample(module.network, data, evaluation.score_map, index), cfg.report_images,
    )  # fmt: skip
    for logger in trainer.loggers:
        if isinstance(logger, WandbResultsLogger):
            shown = collect_views(
                module.network, data, module.loss, evaluation.score_map, evaluation.threshold, cfg.gallery_images
            )
            logger.log_evaluation(evaluation, shown, data.class_names, facts)
    log.info("run folder: %s", folder)


def _go_on(position: ResumeState, trainer: pl.Trainer, data: ImageDataModule) -> None:
    photos = len(data.records["train"]) if data.class_names == position.class_names else 0
    if photos != position.num_train_images:
        raise UserError(
            f"resume={position.path} was trained with {position.num_train_images} photos of {len(position.class_names)} classes; "
            f"the data set now has {len(data.records['train'])} of {len(data.class_names)}"
        )
    data.fast_forward(position.epoch, position.batch)
    for logger in trainer.loggers:
        if isinstance(logger, ResumableCSVLogger):
            logger.fast_forward(position.step)


def _share_buffers(trainer: pl.Trainer, module: SPGModule) -> None:
    """Give every process the first one's batch norm statistics, as they are saved: all are to evaluate one network."""
    if trainer.world_size > 1:
        for buffer in module.network.buffers():  # on the host after a fit; GPUs talk to each other of their own memory
            first = buffer.to(trainer.strategy.root_device)
            torch.distributed.broadcast(first, src=0)
            buffer.copy_(first)


def _checkpoint(trainer: pl.Trainer, folder: Path, which: str) -> Path:
    """Write the last weights; return the file of those that are asked for."""
    last, best = folder / "last.ckpt", folder / "best.ckpt"
    trainer.save_checkpoint(last)
    path = last
    if which == "best":
        writes = any(isinstance(callback, BestCheckpoint) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        if trainer.strategy.broadcast(writes and best.is_file()):
            path = best
        else:
            log.warning(
                "eval_checkpoint=best: no validation has written %s (too few steps, or callbacks.best=null); "
                "the last weights are evaluated", best,
            )  # fmt: skip
    return Path(trainer.strategy.broadcast(str(path)))  # torchrun's processes name their own folders, by the second


def _restore(module: SPGModule, checkpoint: Path) -> None:
    module.network.load_state_dict(read_checkpoint(checkpoint)[1])


def main() -> None:
    """Run the command."""
    run_command("train")


if __name__ == "__main__":
    main()
