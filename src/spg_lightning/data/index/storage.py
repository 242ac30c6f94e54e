"""Records as a folder of .npy files that NumPy maps into memory: start-up is instant, and processes share the pages.

The folder is written under a temporary name and renamed when complete, so that a partial index is never read.
"""

import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from spg_lightning.data.packed_strings import PackedStringLists, PackedStrings
from spg_lightning.data.records import Records, Splits
from spg_lightning.errors import UserError
from spg_lightning.utils.temporary_folder import temporary_folder

COLUMNS = ("labels", "sizes", "boxes", "box_offsets")
ATTRIBUTES = ("class_names", "mask_above", "apply_exif_orientation")
SPLITS = ("train", "val", "test")
HEADER = "splits.json"
ATTEMPTS = 10  # to be faster than other processes that write the same index


def save_index(folder: Path, splits: Splits) -> None:
    """Write the records of all splits to a new folder, completely or not at all.

    Raises:
        UserError: it cannot be written.
    """
    try:
        with temporary_folder(folder.parent, "index") as unfinished:
            new = unfinished / "new"
            new.mkdir()
            _write(new, splits)
            _replace(folder, new, unfinished)
    except OSError as error:
        raise UserError(f"cannot write {folder} ({error.strerror}); nothing was changed") from error


def _write(folder: Path, splits: Splits) -> None:
    header = {}
    for split in SPLITS:
        records: Records | None = getattr(splits, split)
        if records is None:
            continue
        header[split] = {name: getattr(records, name) for name in ATTRIBUTES} | {"root": str(records.root.absolute())}
        for column, array in _arrays(records).items():
            np.save(folder / f"{split}.{column}.npy", array)
    (folder / HEADER).write_text(json.dumps(header))
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())  # the new name must not stand for bytes that never reached the disk


def _replace(folder: Path, new: Path, unfinished: Path) -> None:
    """Rename the new folder over an existing one, which other processes may do at the same time."""
    for attempt in range(ATTEMPTS):
        with suppress(FileNotFoundError):
            folder.rename(unfinished / f"previous-{attempt}")
        try:
            new.rename(folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or attempt == ATTEMPTS - 1:
                raise


def load_index(folder: Path) -> Splits | None:
    """Return the records of an index, None if a file is missing or damaged."""
    try:
        header = json.loads((folder / HEADER).read_text())
        loaded = {split: _load(folder, split, node) for split, node in header.items()}
        return Splits(train=loaded["train"], val=loaded.get("val"), test=loaded["test"])
    except (OSError, ValueError, KeyError, EOFError):
        return None


def load_split(folder: Path, split: str) -> Records:
    """Return the records of one split: records travel to another process as this call.

    Raises:
        UserError: the index was deleted or damaged.
    """
    splits = load_index(folder)
    if splits is None:
        raise UserError(f"{folder} was changed while it was in use; start again")
    records: Records = getattr(splits, split)
    return records


def _load(folder: Path, split: str, node: dict[str, Any]) -> Records:
    arrays = {
        path.name.removeprefix(f"{split}.").removesuffix(".npy"): np.load(path, mmap_mode="r")
        for path in folder.glob(f"{split}.*.npy")
    }
    masks: Any = ()
    if "masks" in arrays:
        masks = PackedStringLists(PackedStrings(arrays["masks"], arrays["masks_ends"]), arrays["masks_groups"])
    return Records(
        root=Path(node["root"]),
        images=PackedStrings(arrays["images"], arrays["images_ends"]),
        **{column: arrays[column] for column in COLUMNS},
        class_names=tuple(node["class_names"]),
        masks=masks,
        ignored=PackedStrings(arrays["ignored"], arrays["ignored_ends"]) if "ignored" in arrays else (),
        mask_above=node["mask_above"],
        apply_exif_orientation=node["apply_exif_orientation"],
        origin=(load_split, (folder, split)),
    )


def _arrays(records: Records) -> dict[str, np.ndarray]:
    images = PackedStrings.of(records.images)
    arrays = {"images": images.text, "images_ends": images.offsets}
    arrays |= {column: getattr(records, column) for column in COLUMNS}
    if records.masks:
        masks = PackedStringLists.of(records.masks)
        arrays |= {"masks": masks.names.text, "masks_ends": masks.names.offsets, "masks_groups": masks.offsets}
    if records.ignored:
        ignored = PackedStrings.of(records.ignored)
        arrays |= {"ignored": ignored.text, "ignored_ends": ignored.offsets}
    return arrays
