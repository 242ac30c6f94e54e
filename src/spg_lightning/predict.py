"""The command `predict`: boxes on images, as overlays, JSON and COCO results.

Heavy libraries are imported inside the functions, so that `--help` and a wrong override are answered at once.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from spg_lightning.config.command_line import run_command
from spg_lightning.config.validation import check_ranges
from spg_lightning.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from spg_lightning.localizer import Localizer
    from spg_lightning.predicting.writers import Prediction

log = logging.getLogger(__name__)


def predict(cfg: DictConfig) -> list[Prediction]:
    """Localize the objects in images as `conf/predict.yaml` describes.

    Writes `overlays/`, `predictions.json` and `coco_results.json` (its image ids are in `coco_images.json`) to
    `cfg.output_dir`. A corrupt image is named in a warning and skipped.

    Raises:
        UserError: the checkpoint cannot be used, there is no image, or the network lacks the score map.
    """
    from rich.progress import track

    from spg_lightning.predicting.inputs import find_images, result_names
    from spg_lightning.predicting.writers import write_image, write_json_results
    from spg_lightning.utils.device import device_of

    check_ranges(cfg)
    localizer = _localizer(cfg)
    images = find_images(str(cfg.images))
    top_k = min(int(cfg.top_k), len(localizer.class_names))
    localizer.network.to(device_of(str(cfg.accelerator)))
    folder, names = Path(cfg.output_dir), result_names(images)
    folder.mkdir(parents=True, exist_ok=True)
    predictions: list[Prediction] = []
    batches = [images[i : i + cfg.batch_size] for i in range(0, len(images), cfg.batch_size)]
    for batch in track(batches, description="predicting", transient=True):
        pixels = _read(batch)
        found = localizer.localize(list(pixels.values()), top_k) if pixels else []
        for (path, image), localizations in zip(pixels.items(), found, strict=True):
            predictions += write_image(folder, names[path], path, image, localizations, bool(cfg.save_maps))
    if not predictions:
        raise UserError(f"images={cfg.images}: none of the {len(images)} images could be read")
    count = write_json_results(folder, predictions)
    log.info("%d of %d images, %d boxes -> %s", count, len(images), len(predictions), folder)
    return predictions


def _localizer(cfg: DictConfig) -> Localizer:
    """Return the localizer of the checkpoint, with the score map and threshold of the command if it gives them."""
    from spg_lightning.checkpoints.metadata import read_checkpoint
    from spg_lightning.checkpoints.rebuild import PROCESSING, build_score_maps, use_stem_of_checkpoint
    from spg_lightning.localizer import Localizer

    own = cfg.get("score_map") or OmegaConf.create()
    # auto: the map that val chose, which the checkpoint stores
    name = None if own.get("name") in (None, "auto") else str(own.name)
    if own.get("maps"):
        use_stem_of_checkpoint(cfg, read_checkpoint(cfg.checkpoint)[0])
    extra = build_score_maps(own.get("maps") or {})
    processing = {key: OmegaConf.to_container(cfg[key]) for key in PROCESSING if cfg.get(key)}
    return Localizer.from_checkpoint(cfg.checkpoint, name, cfg.threshold, cfg.trust, extra, processing)


def _read(paths: list[Path]) -> dict[Path, np.ndarray]:
    """Return the pixels of the images that can be read; name the others in a warning."""
    from spg_lightning.data.images import read_image

    pixels = {}
    for path in paths:
        try:
            pixels[path] = read_image(path, apply_exif_orientation=True)
        except UserError as error:
            log.warning("%s; skipped", error)
    return pixels


def main() -> None:
    """Run the command."""
    run_command("predict")


if __name__ == "__main__":
    main()
