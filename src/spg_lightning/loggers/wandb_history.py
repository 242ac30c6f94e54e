"""Read back what earlier attempts of a Weights & Biases run have logged, from the files that wandb keeps on disk.

wandb has no reader of its own in Python: the files are LevelDB logs of protobuf records.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32768, 7  # bytes; of the file, and of each piece of a record
FULL, FIRST, LAST = 1, 2, 4
STEP = "trainer/global_step"  # Lightning logs it with every metric


def last_steps(folder: Path, run_id: str) -> dict[str, int]:
    """Return the last trainer step with which each metric of a run was logged.

    Args:
        folder: of the runs, `wandb` below `save_dir`.
        run_id: of the run; each attempt has a file of its own.
    """
    last: dict[str, int] = {}
    for path in sorted(folder.glob(f"*run-*-{run_id}/run-{run_id}.wandb")):
        for record in records(path):
            row = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            if STEP in row:
                step = int(json.loads(row[STEP]))
                last.update({key: max(step, last.get(key, step)) for key in row})
    return last


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a run-*.wandb file. A truncated one, which a kill leaves at the end, is left out."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined] # made at import

    data = path.read_bytes()
    at, pieces = HEADER, b""
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:  # a header never straddles blocks
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        piece = data[at + HEADER : at + HEADER + length]
        if len(piece) < length:
            return
        at += HEADER + length
        pieces = piece if kind in (FULL, FIRST) else pieces + piece
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(pieces)
            yield record
