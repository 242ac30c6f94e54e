"""One reader a data set, one common table of records, transforms. Independent of Lightning and Hydra."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "decode": ["read_image"],
        "images": ["Batch", "ImageDataset", "collate"],
        "packed_strings": ["PackedStrings"],
        "readers.benchmark": ["read_benchmark_parts"],
        "readers.benchmark_metadata": ["read_benchmark"],
        "readers.cub": ["read_cub", "read_cub_and_val"],
        "readers.folder": ["read_folder"],
        "readers.ilsvrc": ["read_ilsvrc"],
        "readers.toybirds": ["read_toybirds"],
        "records": ["Records", "Splits"],
    },
)
