"""The verb `report`: finished runs become a table, differences with their noise, plots, and one page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from spg_lightning.comparison.captions import Comparison
from spg_lightning.comparison.comparison_page import figures_of, render
from spg_lightning.comparison.comparison_plots import COLOURS
from spg_lightning.comparison.output import print_study, write_results, write_table
from spg_lightning.comparison.published import published_of
from spg_lightning.comparison.runs import CONFIG, FACTS, Run, collect
from spg_lightning.comparison.significance import Difference, difference, unpaired
from spg_lightning.comparison.summary import METRICS, Row, cell_of, lower_is_better, summarize
from spg_lightning.comparison.variants import Variant, reference_of, variants_of
from spg_lightning.config.command_line import run_command
from spg_lightning.errors import UserError, nearest


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        variants: runs that differ in the seed alone.
        rows: of the table.
        reference: the label of the variant that others are compared with.
        differences: label -> metric -> difference from the reference, paired over seeds.
        left_out: runs that do not count, with the reason.
        page: the written report.html.
    """

    variants: list[Variant]
    rows: list[Row]
    reference: str
    differences: dict[str, dict[str, Difference]]
    left_out: list[str]
    page: Path


def report(cfg: DictConfig) -> Report:
    """Collect the runs below `cfg.runs` and write report.html, its plots (.svg), table.md and results.csv, as `conf/report.yaml` says.

    Raises:
        UserError: no such folder, no finished run in it, a file that cannot be read, an unknown reference or metric.
    """
    root, folder = Path(cfg.runs), Path(cfg.output_dir)
    runs, left_out = collect(root)
    if any((folder / name).is_file() for name in (FACTS, CONFIG)):
        raise UserError(f"output_dir={folder} is a run's own folder, whose report.html would be lost; give another")
    variants, repeated = variants_of(runs)
    reference = reference_of(variants, cfg.reference)
    score_map = str(cfg.score_map.name)
    _check(runs, str(cfg.metric), score_map)
    compared = Comparison(
        title=root.resolve().name,
        variants=variants,
        shown=top_variants(variants, reference, cfg.metric, score_map),
        reference=reference,
        published=published_of(variants),
        rows=summarize(variants, reference, score_map, cfg.per_map),
        differences=_differences(variants, reference, score_map, cfg.metric),
        unpaired=unpaired(variants, reference),
        left_out=[*left_out, *repeated],
        metric=cfg.metric,
        score_map=score_map,
    )
    figures = figures_of(compared)
    page = render(compared, figures, folder, cfg.photos)
    # whatever can go wrong has gone wrong by now: nothing is written by halves
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text(page, encoding="utf-8")
    for name, svg in figures.items():
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    write_table(folder / "table.md", compared)
    write_results(folder / "results.csv", compared)
    print_study(compared, folder / "report.html")
    return Report(
        variants, compared.rows, reference.label, compared.differences, compared.left_out, folder / "report.html"
    )


def top_variants(variants: Sequence[Variant], reference: Variant, metric: str, score_map: str) -> list[Variant]:
    """Return the reference and the others, as many as there are colours: of a large sweep the best on val."""
    others = [v for v in variants if v is not reference]
    sign = 1 if lower_is_better(metric) else -1

    def on_val(variant: Variant) -> float:
        cell = cell_of([run.number(metric, score_map, "val") for run in variant.runs])
        return sign * cell.mean if cell else float("inf")

    best = sorted(others, key=on_val)[: len(COLOURS) - 1]
    return [reference, *(v for v in others if v in best)]


def _differences(
    variants: Sequence[Variant], reference: Variant, score_map: str, metric: str
) -> dict[str, dict[str, Difference]]:
    metrics = dict.fromkeys([*METRICS, metric])
    found = {
        v.label: {m: d for m in metrics if (d := difference(v, reference, m, score_map))}
        for v in variants
        if v is not reference
    }
    return {label: of_variant for label, of_variant in found.items() if of_variant}


def _check(runs: Sequence[Run], metric: str, score_map: str) -> None:
    maps = dict.fromkeys(name for run in runs for name in run.score_maps)
    if score_map != "auto" and score_map not in maps:
        raise UserError(f"score_map={score_map}: no run has numbers of it; there are {', '.join(maps) or 'none'}")
    metrics = dict.fromkeys(key.rsplit("/", 1)[-1] for run in runs for key in run.numbers if key.startswith("test/"))
    if metric not in metrics:
        raise UserError(f"metric={metric}: no run has it.{nearest(metric, metrics)}")
    if all(run.number(metric, score_map) is None for run in runs):
        raise UserError(f"metric={metric}: no run has it of score_map={score_map}; floors belong to no map")


def main() -> None:
    """Run the command."""
    run_command("report")


if __name__ == "__main__":
    main()
