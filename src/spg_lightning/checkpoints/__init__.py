"""Save and load checkpoints safely; import published ones."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "metadata": ["CheckpointMetadata", "read_checkpoint"],
        "published": ["LAYOUTS", "import_published"],
    },
)
