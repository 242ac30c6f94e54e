"""The command `convert`: a published SPG checkpoint as a .safetensors file for `evaluate` and `predict`.

Heavy libraries are imported inside the functions, so that `--help` and a wrong override are answered at once.
"""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from spg_lightning.config.command_line import run_command
from spg_lightning.config.compose import compose
from spg_lightning.errors import UserError
from spg_lightning.utils.validation import check_ranges

log = logging.getLogger(__name__)
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def convert(cfg: DictConfig) -> Path:
    """Convert `cfg.source` as `conf/convert.yaml` describes. No code stored in the file is run.

    Raises:
        UserError: the source is missing, holds more than weights, or does not fit the layout; the output is not a
            .safetensors file; the number of class names differs from the checkpoint's; a score map without a threshold, or
            the reverse.
    """
    from spg_lightning.checkpoints.metadata import CheckpointMetadata, write_weights
    from spg_lightning.checkpoints.published import count_classes, import_published
    from spg_lightning.stems.weights import read_state_dict

    check_ranges(cfg)
    output = Path(str(cfg.output)).expanduser()
    if output.suffix != ".safetensors":
        raise UserError(f"output={cfg.output}: name a .safetensors file")
    if (cfg.get("score_map") is None) != (cfg.threshold is None):
        raise UserError("a threshold belongs to one score map; give both score_map= and threshold=, or neither")
    state_dict = read_state_dict(cfg.source)
    layout = str(cfg.layout)
    num_classes = count_classes(state_dict, layout)
    names = _class_names(cfg.class_names, num_classes)
    network = import_published(state_dict, layout, num_classes, int(cfg.map_size))
    metadata = CheckpointMetadata(_config(cfg, layout), names, int(cfg.crop), {})
    if cfg.get("score_map") is not None:
        metadata.localization.update(score_map=str(cfg.score_map.name), threshold=float(cfg.threshold))
    output.parent.mkdir(parents=True, exist_ok=True)
    write_weights(output, metadata, network.state_dict())
    log.info("%s (%s, %d classes) -> %s", cfg.source, layout, num_classes, output)
    return output


def _config(cfg: DictConfig, layout: str) -> dict[str, Any]:
    """Return the config of a training run with this network, as every checkpoint carries it."""
    stem = layout.split("/")[1]
    overrides = [f"stem={stem}", f"stem.map_size={cfg.map_size}", "stem.weights=none", f"dataset={cfg.dataset}"]
    overrides += [f"dataset.crop={cfg.crop}", f"dataset.resize={cfg.resize}", "output_dir=unused"]
    trained = compose("train", overrides)
    # both public implementations normalise with ImageNet's mean and standard deviation
    trained.stem.network.mean, trained.stem.network.std = IMAGENET_MEAN, IMAGENET_STD
    plain = OmegaConf.to_container(trained, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _class_names(file: str | None, num_classes: int) -> tuple[str, ...]:
    if file is None:
        return tuple(str(k) for k in range(num_classes))
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(
            f"class_names={file} does not exist; give a file with one name per line, in the order of the classes"
        )
    names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    if len(names) != num_classes:
        raise UserError(f"class_names={file} has {len(names)} names, the checkpoint {num_classes} classes")
    return names


def main() -> None:
    """Run the command."""
    run_command("convert")


if __name__ == "__main__":
    main()
