"""One reader a data set, one common table of records, transforms. Knows nothing of Lightning or Hydra."""

from spg_lightning.data.benchmark import read_benchmark
from spg_lightning.data.cub import read_cub
from spg_lightning.data.photos import Batch, PhotoDataset, collate, read_photo
from spg_lightning.data.records import Records, Splits, hold_out
from spg_lightning.data.toybirds import read_toybirds

__all__ = [
    "Batch",
    "PhotoDataset",
    "Records",
    "Splits",
    "collate",
    "hold_out",
    "read_benchmark",
    "read_cub",
    "read_photo",
    "read_toybirds",
]
