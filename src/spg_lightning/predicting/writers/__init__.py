"""Write predictions in the formats of annotation tools. One file a format."""

from spg_lightning.predicting.writers.writer import Rows, Writer

__all__ = ["Rows", "Writer"]
