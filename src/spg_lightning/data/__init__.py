"""One reader a data set, one common table of records, transforms. Knows nothing of Lightning or Hydra."""

from spg_lightning.data.benchmark import read_benchmark
from spg_lightning.data.benchmark_parts import read_benchmark_parts
from spg_lightning.data.cub import read_cub, read_cub_and_val
from spg_lightning.data.folder import read_folder
from spg_lightning.data.ilsvrc import read_ilsvrc
from spg_lightning.data.names import Names
from spg_lightning.data.photos import Batch, PhotoDataset, collate, read_photo
from spg_lightning.data.records import Records, Splits
from spg_lightning.data.toybirds import read_toybirds

__all__ = [
    "Batch",
    "Names",
    "PhotoDataset",
    "Records",
    "Splits",
    "collate",
    "read_benchmark",
    "read_benchmark_parts",
    "read_cub",
    "read_cub_and_val",
    "read_folder",
    "read_ilsvrc",
    "read_photo",
    "read_toybirds",
]
