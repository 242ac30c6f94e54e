"""Save and load checkpoints safely; import published ones."""

from spg_lightning.checkpoints.metadata import CheckpointMetadata, SaveMetadata, add_localization, read_checkpoint
from spg_lightning.checkpoints.published import LAYOUTS, import_published

__all__ = ["LAYOUTS", "CheckpointMetadata", "SaveMetadata", "add_localization", "import_published", "read_checkpoint"]
