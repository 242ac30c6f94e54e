"""Score maps, their lists and masks, predictions and metadata, for `evaluate maps=`."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.faults import templates
from tests.faults.case import Case
from tests.faults.file_faults import ANY, TEXT, Fault, rows, void
from tests.faults.photos import PHOTOS


def _array(make: Callable[[], np.ndarray]) -> Fault:
    return lambda path: np.save(path, make())


def _header(text: str) -> Fault:
    def write(path: Path) -> None:
        data = io.BytesIO()
        np.save(data, np.zeros((4, 4), np.float32))
        path.write_bytes(data.getvalue().replace(b"(4, 4)", text.encode()))

    return write


ARRAYS: dict[str, Fault] = {
    **{f"all {value}": _array(lambda value=value: np.full((8, 9), value)) for value in (0, 1, 2, -1, np.nan, np.inf, 1e308, 1e-320)},
    "one NaN": _array(lambda: np.where(np.arange(72).reshape(8, 9) == 5, np.nan, 0.5)),
    **{f"of {kind}": _array(lambda kind=kind: np.ones((8, 9), kind)) for kind in ("uint8", "int64", "bool", "float16", "complex64", ">f4", "U3", "datetime64[s]", "longdouble")},
    "of objects": lambda path: np.save(path, np.array([[{}]], object), allow_pickle=True),
    "structured": _array(lambda: np.zeros((8, 9), [("a", "f4")])),
    **{f"shaped {shape}": _array(lambda shape=shape: np.full(shape, 0.5)) for shape in ((), (0,), (0, 5), (5, 0), (72,), (1, 8, 9), (8, 9, 3), (1, 1), (1, 3000), (3000, 1), (2000, 1500))},
    "in Fortran's order": _array(lambda: np.asfortranarray(np.random.default_rng(0).random((8, 9)))),
    "an archive": lambda path: void(np.savez(path.open("wb"), a=np.zeros((8, 9)))),
    "a header of 10 ** 12 numbers": _header("(1000000, 1000000)"),
    "a header of 10 ** 30 numbers": _header("(10**15, 10**15)"),
    "a negative header": _header("(-4, 4)"),
    "a header of code": _header("(print(1), 4)"),
}  # fmt: skip


def cases() -> Iterator[Case]:
    """Yield a case for each map, list, mask and table of predictions with each fault."""
    arguments = templates.MAPS
    file = "maps/maps/birds/photo_01.npy"
    for what, fault in (ANY | ARRAYS).items():
        for size in ("32", "own"):
            for more in ((), ("val.maps=maps/maps", "val.metadata=maps/metadata")):
                name = f"maps/map/{what}/map_size={size}{'/val' if more else ''}"
                yield Case(
                    name,
                    "evaluate",
                    (*arguments[:-1], f"map_size={size}", *more),
                    ("maps",),
                    lambda folder, fault=fault: fault(folder / file),
                )
    for name in ("maps", "mask_maps"):
        own = tuple(word.replace("=maps/", f"={name}/") for word in arguments)
        own += (f"masks={name}/masks",) if name == "mask_maps" else ()
        for table in sorted((templates.where() / name / "metadata").glob("*.txt")):
            for what, fault in (ANY | TEXT | rows(",")).items():
                yield Case(
                    f"maps/{name}/{table.name}/{what}", "evaluate", own, (name,),
                    lambda folder, name=name, table=table, fault=fault: fault(folder / name / "metadata" / table.name),
                )  # fmt: skip
        for mask in ("photo_01_m.png", "photo_01_ignore.png") if name == "mask_maps" else ():
            for what, fault in (ANY | PHOTOS).items():
                yield Case(
                    f"maps/{mask}/{what}", "evaluate", own, (name,),
                    lambda folder, mask=mask, fault=fault: fault(folder / "mask_maps/masks/birds" / mask),
                )  # fmt: skip
    for what, fault in (ANY | TEXT | rows(",")).items():
        yield Case(
            f"maps/predictions/{what}", "evaluate", (*arguments, "predictions=predictions.csv"), ("maps", "predictions.csv"),
            lambda folder, fault=fault: fault(folder / "predictions.csv"),
        )  # fmt: skip
