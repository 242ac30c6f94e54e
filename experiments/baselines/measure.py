"""Methods x metrics, score maps x metrics on one checkpoint, and one network's maps under other classifiers' labels (table 3).

    python experiments/baselines/measure.py --output runs/baselines                                    # toy birds
    python experiments/baselines/measure.py --output DIR --without score_cam -- experiment=cub20 dataset.root=...

Trains each method for the same steps on the same stem (a run that is there is not trained again), and writes results.csv (a row
a number), methods.md, score_maps.md, classifiers.md and grid.png (a row a method or map, the same photos) into DIR.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from compare import METRICS, TITLES, rows_of, run, table

from spg_lightning import compose, evaluate
from spg_lightning.build import build_data, load_network
from spg_lightning.reporting.comparison import Column, write_comparison
from spg_lightning.score_maps import SCORE_MAPS

METHODS = ("cam", "has", "acol", "adl", "cutmix", "spg")
Rows = list[dict[str, object]]


def evaluated(folder: Path, checkpoint: Path, *overrides: str) -> Path:
    """Evaluate a checkpoint unless it has been; return the folder of the numbers."""
    if not (folder / "provenance.json").is_file():
        evaluate(
            compose("evaluate", [f"checkpoint={checkpoint}", f"output_dir={folder}", "gallery_images=0", *overrides])
        )
    return folder


def numbers(folder: Path, common: dict[str, object], **names: object) -> Rows:
    """Return the test numbers of an evaluation as rows."""
    facts = json.loads((folder / "provenance.json").read_text())
    with (folder / "score_maps.csv").open() as file:
        found = [row for row in csv.DictReader(file) if row["split"] == "test"]
    return [
        {**common, "commit": facts["commit"], **row, **names, "chosen": int(row["score_map"] == facts["score_map"])}
        for row in found
    ]


def markdown(path: Path, header: list[str], lines: list[list[str]]) -> None:
    path.write_text(
        "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *lines)) + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", nargs="*", default=[], choices=[*SCORE_MAPS], help="score maps to leave out")
    parser.add_argument("overrides", nargs="*", help="after --: overrides of train, for all methods")
    args = parser.parse_args()

    def last(method: str) -> Path:
        return args.output / f"{method}-seed{args.seed}" / "checkpoints" / "last.ckpt"

    by_method: Rows = []
    for method in METHODS:
        by_method += rows_of(run(method, args.seed, args.output, args.overrides), method, args.seed)
    columns = ["method", "score map", *METRICS.values()]
    markdown(args.output / "methods.md", columns, table(by_method))

    names = [name for name in SCORE_MAPS if name not in args.without]
    common = {key: value for key, value in by_method[-1].items() if key not in ("commit", "fit_seconds")}
    folder = evaluated(args.output / "score_maps", last("spg"), f"score_map.name=[{','.join(names)}]")
    by_map = numbers(folder, common, method="spg")
    markdown(args.output / "score_maps.md", columns, [row for row in table(by_map) if "chosen" not in row[1]])

    by_classifier: Rows = []
    lines = []
    chosen = next(str(row["score_map"]) for row in by_method if row["method"] == "spg" and row["chosen"])
    for score_map in dict.fromkeys((chosen, "attention")):
        for method in METHODS:
            folder = evaluated(
                args.output / f"labels-{method}-{score_map}", last("spg"), f"classifier={last(method)}",
                f"score_map={score_map}", "report_images=0",
            )  # fmt: skip
            found = numbers(folder, common, method=f"spg, labels of {method}")
            by_classifier += found
            told = {str(row["metric"]): float(str(row["value"])) for row in found}
            shown = ("loc_top1_error", "cls_top1_error", "loc_top5_error", "cls_top5_error", "gt_known_error")
            lines.append([TITLES[method], score_map, *(f"{told[name]:.1f}" for name in shown)])
    markdown(
        args.output / "classifiers.md",
        ["labels of", "SPG's map", "top-1 loc", "cls top-1", "top-5 loc", "cls top-5", "GT-known error"], lines,
    )  # fmt: skip

    with (args.output / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for row in by_method + by_map for key in row)))
        writer.writeheader()
        writer.writerows(by_method + by_map + by_classifier)

    rows = []
    for method in METHODS:
        network, description = load_network(last(method))
        metrics = json.loads((last(method).parents[1] / "metrics.json").read_text())
        for name in dict.fromkeys(["attention", description.localization["score_map"]]):
            title = f"{TITLES[method]}: {name}" if method == "spg" else TITLES[method]
            rows.append(Column(title, network, name, metrics[f"test/{name}/threshold"]))
    metrics = json.loads((args.output / "score_maps" / "metrics.json").read_text())
    rows += [
        Column(f"SPG: {name}", network, name, metrics[f"test/{name}/threshold"])
        for name in ("grad_cam_plus_plus", "layer_cam", "score_cam", "input_gradient")
        if name in names
    ]
    data = build_data(compose("train", [*args.overrides, f"seed={args.seed}", f"output_dir={args.output}"]))
    data.setup()
    write_comparison(args.output / "grid.png", data, rows, 8, row_a_method=True)


if __name__ == "__main__":
    main()
