"""Train several methods on the same data for the same steps, report them, and draw their maps side by side.

    python experiments/compare.py --output DIR                             # SPG-plain and SPG on toy birds
    python experiments/compare.py --output DIR --recipe seeded experiment=toybirds_seeded      # and a recipe of any overrides
    python experiments/compare.py --output DIR --methods cam has adl cutmix spg    # these instead of spg_plain and spg
    python experiments/compare.py --output DIR --seeds 0 1 2 -- dataset=cub dataset.root=... # any overrides of `train`

DIR receives the runs, the files of `python -m spg_lightning.report` (report.html, table.md, results.csv), and
comparison_seed<n>.png. A finished run is not trained again, and an unfinished one resumes.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from sheets import Column, write_comparison

from spg_lightning import Localizer, build_data, compose, report, train
from spg_lightning.comparison.variants import TITLES
from spg_lightning.config.compose import choices_of
from spg_lightning.reporting.gallery import title_of
from spg_lightning.utils.run_dir import RunDir

METHODS = ("spg_plain", "spg")  # compared by default


def run(name: str, seed: int, output: Path, overrides: Sequence[str]) -> Path:
    """Train one recipe with one seed unless it is finished; return its run folder."""
    folder = output / f"{name}-seed{seed}"
    if not RunDir(folder).is_finished:
        train(compose("train", [*overrides, "resume=auto", f"seed={seed}", f"output_dir={folder}"]))
    return folder


def columns_of(folder: Path, title: str) -> list[Column]:
    """Return attention, if it was measured, and the chosen map of a run, at their thresholds from val."""
    metrics = json.loads((folder / "metrics.json").read_text())
    checkpoint = RunDir(folder).last
    names = dict.fromkeys(["attention", Localizer.from_checkpoint(checkpoint).name])
    names = [name for name in names if f"test/{name}/threshold" in metrics]
    return [
        Column(
            f"{title}: {title_of(name)}", Localizer.from_checkpoint(checkpoint, name, metrics[f"test/{name}/threshold"])
        )
        for name in names
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=choices_of("method"), metavar="METHOD")
    parser.add_argument(
        "--recipe",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "OVERRIDE"),
        help="overrides beside the methods",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--photos", type=int, default=8, help="columns of the comparison sheet")
    parser.add_argument("overrides", nargs="*", help="after --: overrides of train, for all methods")
    args = parser.parse_args()

    for seed in args.seeds:
        recipes = {method: [f"method={method}"] for method in args.methods} | {
            name: more for name, *more in args.recipe
        }
        folders = {name: run(name, seed, args.output, [*args.overrides, *more]) for name, more in recipes.items()}
        data = build_data(compose("train", [*args.overrides, f"seed={seed}", f"output_dir={args.output}"]))
        data.setup()
        columns = [
            column for method, folder in folders.items() for column in columns_of(folder, TITLES.get(method, method))
        ]
        write_comparison(args.output / f"comparison_seed{seed}.png", data, columns, args.photos, transpose=True)
    report(compose("report", [f"runs={args.output}", "per_map=true"]))
    print(f"pictures: {args.output}/comparison_seed{args.seeds[0]}.png, {args.output}/*/gallery/overview.png")


if __name__ == "__main__":
    main()
