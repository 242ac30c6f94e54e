"""Join the results by image of all runs in one Parquet file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spg_lightning.comparison.variants import Variant
from spg_lightning.errors import UserError


def image_table(variants: Sequence[Variant]) -> Any:
    """Return a pyarrow table with a row per run and test image: the columns of images.csv after those that name the run.

    The boxes are those of each run's own score map and threshold.

    Raises:
        UserError: pyarrow is not installed, or a run's images.csv is missing or damaged.
    """
    try:
        import pyarrow as pa
        from pyarrow import csv
    except ImportError:
        raise UserError("per_image=true needs pyarrow: pip install 'spg-lightning[parquet]'") from None
    text, number = pa.string(), pa.float64()
    columns = {"image": text, "class": text, "predicted": text} | dict.fromkeys(("x0", "y0", "x1", "y1", "iou"), number)
    options = csv.ConvertOptions(
        column_types=columns | {"localized": pa.bool_()}, include_columns=[*columns, "localized"]
    )
    tables = []
    for variant, run in ((v, run) for v in variants for run in v.runs):
        try:
            table = csv.read_csv(run.files.images, convert_options=options)
        except (OSError, KeyError, pa.ArrowInvalid) as error:
            raise UserError(
                f"{run.files.images} cannot be read ({error}); repeat the run, or per_image=false"
            ) from error
        facts = {"run": run.name, "variant": variant.label, "seed": str(run.seed), "score_map": run.score_map}
        for index, (name, value) in enumerate(facts.items()):
            table = table.add_column(index, name, pa.repeat(value, len(table)))
        tables.append(table)
    return pa.concat_tables(tables)


def write_image_table(path: Path, table: Any) -> None:
    """Write the table of `image_table`."""
    from pyarrow import parquet

    parquet.write_table(table, path)
