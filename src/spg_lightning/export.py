"""The command `export`: a checkpoint as an ONNX file, a torch.export program or an OpenVINO model.

Heavy libraries are imported inside the functions, so that `--help` and a wrong override are answered at once.
"""

from __future__ import annotations

import hashlib
import logging
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from spg_lightning.config.command_line import run_command
from spg_lightning.errors import UserError, nearest
from spg_lightning.utils.validation import check_ranges

if TYPE_CHECKING:
    from spg_lightning.checkpoints.metadata import CheckpointMetadata
    from spg_lightning.exporting.description import ModelDescription
    from spg_lightning.localizer import Localizer

log = logging.getLogger(__name__)
TOLERANCE = 1e-3  # of a map's value; a larger difference can move boxes


def export(cfg: DictConfig) -> Path:
    """Export a checkpoint as `conf/export.yaml` describes, compare it with the checkpoint, and return the file's path.

    Raises:
        UserError: the checkpoint cannot be used, a package is missing, the format cannot express a part, or the file cannot
            be written.
    """
    from spg_lightning.checkpoints.metadata import read_checkpoint
    from spg_lightning.config.build import build_localizer
    from spg_lightning.exporting.formats import FORMATS, write_exported

    check_ranges(cfg)
    name = str(cfg.format)
    if name not in FORMATS:
        raise UserError(f"format={name}: choose {', '.join(FORMATS)}.{nearest(name, FORMATS)}")
    output = _output(cfg, FORMATS[name][0])
    metadata, _ = read_checkpoint(cfg.checkpoint)
    localizer = build_localizer(cfg)
    description = _describe(cfg, localizer, metadata)
    write_exported(localizer, description, name, output)
    log.info("%s, score map %s, threshold %.3f -> %s", cfg.checkpoint, localizer.name, localizer.threshold, output)
    _compare(localizer, output, description.top_k)
    return output


def _output(cfg: DictConfig, suffix: str) -> Path:
    checkpoint = Path(str(cfg.checkpoint))
    if cfg.output is None:
        if str(cfg.checkpoint).startswith("hf://"):
            raise UserError(f"checkpoint={cfg.checkpoint} is at an address; give output=<file>{suffix}")
        folder = checkpoint.expanduser()
        return folder / f"model{suffix}" if folder.is_dir() else folder.with_suffix(suffix)
    output = Path(cfg.output).expanduser()
    if output.suffix != suffix:
        raise UserError(
            f"output={cfg.output}: format={cfg.format} writes a {suffix} file; name it so, or choose another format="
        )
    return output


def _describe(cfg: DictConfig, localizer: Localizer, metadata: CheckpointMetadata) -> ModelDescription:
    import torch

    from spg_lightning.checkpoints.hub_address import local_file
    from spg_lightning.checkpoints.weights_license import license_of_weights
    from spg_lightning.exporting.description import ModelDescription

    path = local_file(str(cfg.checkpoint))
    provenance: dict[str, Any] = {
        "spg_lightning": version("spg-lightning"),
        "torch": torch.__version__,
        "checkpoint": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    return ModelDescription(
        localizer.class_names,
        metadata.crop,
        localizer.name,
        localizer.score_maps[localizer.name].per_class,
        int(cfg.top_k),
        localizer.threshold,
        localizer.confidence.as_plain(),
        license_of_weights(metadata.config),
        provenance,
    )


def _compare(localizer: Localizer, output: Path, top_k: int) -> None:
    """Tell how far the exported model is from the checkpoint, if its runtime is installed."""
    from spg_lightning.exporting.exported_localizer import ExportedLocalizer
    from spg_lightning.exporting.parity import compare, random_images

    try:
        exported = ExportedLocalizer.open(output)
    except UserError as error:
        log.warning("not compared with the checkpoint: %s", error)
        return
    assert localizer.crop is not None
    images = random_images(localizer.crop)
    difference = compare(localizer, exported, images, top_k)
    log.info("largest differences from the checkpoint on %d random images: %s", len(images), difference)
    if difference.map_value > TOLERANCE:
        log.warning("score maps differ by more than %g: check the boxes on images of your own", TOLERANCE)


def main() -> None:
    """Run the command."""
    run_command("export")


if __name__ == "__main__":
    main()
