"""Join the results by image of all runs in one Parquet file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spg_lightning.comparison.variants import Variant
from spg_lightning.errors import UserError
from spg_lightning.reporting.run_page import IMAGE_COLUMNS


def image_table(variants: Sequence[Variant]) -> Any:
    """Return a pyarrow table with the rows of each run's images.csv, after columns that name the run.

    `chosen` marks the rows of each run's own score map.

    Raises:
        UserError: pyarrow is not installed, or a run's images.csv is missing or damaged.
    """
    try:
        import pyarrow as pa
        from pyarrow import compute, csv
    except ImportError:
        raise UserError("per_image=true needs pyarrow: pip install 'spg-lightning[parquet]'") from None
    numbers = ("score", "x0", "y0", "x1", "y1", "iou")
    columns = {name: pa.float64() if name in numbers else pa.string() for name in IMAGE_COLUMNS}
    columns["localized"] = pa.bool_()
    options = csv.ConvertOptions(column_types=columns, include_columns=[*columns])
    tables = []
    for variant, run in ((v, run) for v in variants for run in v.runs):
        try:
            table = csv.read_csv(run.files.images, convert_options=options)
        except (OSError, KeyError, pa.ArrowInvalid) as error:
            raise UserError(
                f"{run.files.images} cannot be read ({error}); repeat the run, or per_image=false"
            ) from error
        table = table.append_column("chosen", compute.equal(table["score_map"], run.score_map))
        facts = {"run": run.name, "variant": variant.label, "seed": str(run.seed)}
        for index, (name, value) in enumerate(facts.items()):
            table = table.add_column(index, name, pa.repeat(value, len(table)))
        tables.append(table)
    return pa.concat_tables(tables)


def write_image_table(path: Path, table: Any) -> None:
    """Write the table of `image_table`."""
    from pyarrow import parquet

    parquet.write_table(table, path)
