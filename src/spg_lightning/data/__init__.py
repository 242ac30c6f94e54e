"""One reader a data set, one common table of records, transforms. Knows nothing of Lightning or Hydra."""

from spg_lightning.data.images import Batch, ImageDataset, collate, read_image
from spg_lightning.data.packed_strings import PackedStrings
from spg_lightning.data.readers.benchmark import read_benchmark_parts
from spg_lightning.data.readers.benchmark_metadata import read_benchmark
from spg_lightning.data.readers.cub import read_cub, read_cub_and_val
from spg_lightning.data.readers.folder import read_folder
from spg_lightning.data.readers.ilsvrc import read_ilsvrc
from spg_lightning.data.readers.toybirds import read_toybirds
from spg_lightning.data.records import Records, Splits

__all__ = [
    "Batch",
    "ImageDataset",
    "PackedStrings",
    "Records",
    "Splits",
    "collate",
    "read_benchmark",
    "read_benchmark_parts",
    "read_cub",
    "read_cub_and_val",
    "read_folder",
    "read_ilsvrc",
    "read_image",
    "read_toybirds",
]
