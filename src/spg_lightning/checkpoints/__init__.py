"""Save and load checkpoints safely; import published ones."""

from spg_lightning.checkpoints.published import LAYOUTS, import_published

__all__ = ["LAYOUTS", "import_published"]
