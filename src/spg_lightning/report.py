"""The command `report`: compare finished runs in a table, with paired differences, plots, and one page.

Heavy libraries are imported inside the functions, so that `--help` and a wrong override are answered at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from spg_lightning.config.command_line import run_command
from spg_lightning.errors import UserError
from spg_lightning.utils.atomic import atomically
from spg_lightning.utils.run_dir import RunDir
from spg_lightning.utils.validation import check_ranges

if TYPE_CHECKING:
    from spg_lightning.comparison.compare import Comparison


def report(cfg: DictConfig) -> Comparison:
    """Compare the runs below `cfg.runs`, as `conf/report.yaml` describes.

    `cfg.output_dir` receives report.html, its plots (.svg), table.md, table.tex, results.csv, results_wide.csv and, with
    `cfg.per_image`, images.parquet; with `logger=wandb` W&B receives page and table.

    Raises:
        UserError: no finished run, a file that cannot be read, or an unknown reference, metric or score map.
    """
    from spg_lightning.comparison.compare import compare
    from spg_lightning.comparison.comparison_page import render_figures, render_page
    from spg_lightning.comparison.image_table import image_table, write_image_table
    from spg_lightning.comparison.latex_table import write_latex
    from spg_lightning.comparison.output import print_comparison, write_results, write_table, write_wide_results

    check_ranges(cfg)
    folder = Path(cfg.output_dir)
    if RunDir(folder).config.is_file() or RunDir(folder).provenance.is_file():
        raise UserError(f"output_dir={folder} is a run's own folder, and its report.html would be lost; choose another")
    comparison = compare(Path(cfg.runs), cfg.reference, str(cfg.metric), str(cfg.score_map.name), cfg.per_map)
    figures = render_figures(comparison)
    page = render_page(comparison, figures, folder, cfg.photos)
    images = image_table(comparison.variants) if cfg.per_image else None
    # all errors are raised above: nothing is half written
    folder.mkdir(parents=True, exist_ok=True)
    for name, svg in figures.items():
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    write_table(folder / "table.md", comparison)
    write_latex(folder / "table.tex", comparison)
    write_results(folder / "results.csv", comparison)
    write_wide_results(folder / "results_wide.csv", comparison)
    if images is not None:
        write_image_table(folder / "images.parquet", images)
    with atomically(folder / "report.html", "w", encoding="utf-8") as file:  # last: what it refers to is complete
        file.write(page)
    print_comparison(comparison, folder / "report.html")
    if cfg.get("logger") is not None:
        _log_to_wandb(cfg, comparison, page)
    return comparison


def _log_to_wandb(cfg: DictConfig, comparison: Comparison, page: str) -> None:
    """Log page and table to one W&B run a study. A repeated report updates it."""
    from spg_lightning.comparison.summary import METRICS
    from spg_lightning.loggers.wandb import WandbResultsLogger
    from spg_lightning.utils.instantiate import instantiate_node

    logger = instantiate_node(cfg.logger)
    if not isinstance(logger, WandbResultsLogger):
        raise UserError("logger: a report is logged to W&B alone; choose logger=wandb, or leave logger out")
    cells = [[row.cells.get(metric) for metric in METRICS] for row in comparison.rows]
    rows = [
        [row.label, row.kind, row.origin, row.n, *(cell.mean if cell else None for cell in of_row)]
        for row, of_row in zip(comparison.rows, cells, strict=True)
    ]
    logger.set_id_file(RunDir(Path(cfg.output_dir)).wandb_id, resume=True)
    logger.log_report(comparison.title, page, ["variant", "kind", "score map", "n", *METRICS], rows)
    logger.close(failed=False)


def main() -> None:
    """Run the command."""
    run_command("report")


if __name__ == "__main__":
    main()
