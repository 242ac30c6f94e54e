"""A reader of one's own: a text file with one image per line."""

from pathlib import Path

from spg_lightning import Splits, UserError, build_records


def read_listed(root: str) -> Splits:
    """Read `<root>/birds.txt`, lines `<split> <image> <class> <x0> <y0> <x1> <y1>`, without a val split.

    Raises:
        UserError: the file is missing or a line cannot be read.
    """
    folder = Path(root).expanduser()
    file = folder / "birds.txt"
    if not file.is_file():
        raise UserError(f"{file} is missing; set dataset.root to the folder that holds it")
    rows = [line.split() for line in file.read_text().splitlines()]
    for number, row in enumerate(rows, start=1):
        if len(row) != 7 or row[0] not in ("train", "test"):
            raise UserError(
                f"{file}, line {number}: expected <train or test> <image> <class> and a box of four numbers"
            )
    names = sorted({row[2] for row in rows})
    records = {
        split: build_records(
            folder,
            images=[row[1] for row in rows if row[0] == split],
            labels=[names.index(row[2]) for row in rows if row[0] == split],
            boxes=[[tuple(map(float, row[3:]))] for row in rows if row[0] == split],
            class_names=names,
        )
        for split in ("train", "test")
    }
    return Splits(train=records["train"], val=None, test=records["test"])
