"""Save and load checkpoints safely; import published ones."""

from spg_lightning.checkpoints.published import LAYOUTS, import_published
from spg_lightning.checkpoints.store import DescribeCheckpoint, Description, add_localization, read_checkpoint

__all__ = ["LAYOUTS", "DescribeCheckpoint", "Description", "add_localization", "import_published", "read_checkpoint"]
