"""Save and load checkpoints safely; import published ones."""

from spg_lightning.checkpoints.metadata import CheckpointMetadata, read_checkpoint
from spg_lightning.checkpoints.published import LAYOUTS, import_published

__all__ = ["LAYOUTS", "CheckpointMetadata", "import_published", "read_checkpoint"]
