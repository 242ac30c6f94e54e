"""The images that the run of a checkpoint held out, as inputs of `predict`."""

from collections.abc import Sequence

from omegaconf import OmegaConf

from spg_lightning.checkpoints.allowed_targets import check_allowed_targets
from spg_lightning.checkpoints.metadata import read_checkpoint
from spg_lightning.checkpoints.rebuild import rebase_root
from spg_lightning.datamodule import ImageDataModule
from spg_lightning.errors import UserError
from spg_lightning.predicting.inputs import Inputs
from spg_lightning.utils.instantiate import instantiate_node

SPLITS = ("val", "test")


def split_inputs(checkpoint: str, split: str, root: str | None, trust: Sequence[str]) -> Inputs:
    """Return the images of a split, with their true boxes.

    Args:
        checkpoint: of a run of this package.
        split: "val" or "test".
        root: of the data set, if it is not where the run found it.
        trust: see `check_allowed_targets`.

    Raises:
        UserError: an unknown split, or the data set cannot be read.
    """
    if split not in SPLITS:
        raise UserError(f"split={split}: choose {' or '.join(SPLITS)}")
    config = OmegaConf.create(read_checkpoint(checkpoint)[0].config)
    if "data" not in config:
        raise UserError(f"split={split}: {checkpoint} names no data set; give images=... instead")
    if root is not None:
        rebase_root(config.data.reader, root)
    config.data.update(num_workers=0, shards=None, augmentation=None, merge_classes=None)
    node = OmegaConf.to_container(config.data, resolve=True)
    check_allowed_targets(node, checkpoint, trust)
    data = instantiate_node(node)
    assert isinstance(data, ImageDataModule)
    data.setup()
    records = data.records[split]
    paths = [records.root / image for image in records.images]
    boxes = {
        str(path): [tuple(box) for box in records.boxes_of(index).tolist()] for index, path in enumerate(paths)
    } if len(records.boxes) else {}  # fmt: skip
    return Inputs(f"split={split}", paths, boxes, records.apply_exif_orientation)
