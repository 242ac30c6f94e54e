"""Methods x metrics, score maps x metrics on one checkpoint, and one network's maps under other classifiers' labels (table 3).

    python experiments/baselines/measure.py --output runs/baselines                                    # toy birds
    python experiments/baselines/measure.py --output DIR --without score_cam -- experiment=cub20 dataset.root=...

Trains each method for the same steps on the same stem (a run that is there is not trained again). Writes into DIR: the report
of the methods (table.md, results.csv, report.html), score_maps.md and classifiers.md with a .csv each, and grid.png (a row a
method or map, the same eight photos).
"""

import argparse
import csv
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from compare import columns_of, run
from sheets import Column, write_comparison

from spg_lightning import Localizer, build_data, compose, evaluate, report
from spg_lightning.comparison.summary import METRICS
from spg_lightning.comparison.variants import TITLES
from spg_lightning.reporting.tables import FLOORS
from spg_lightning.score_maps import SCORE_MAPS

METHODS = ("cam", "has", "acol", "adl", "cutmix", "spg")
BY_CLASSIFIER = {
    "loc_top1_error": "top-1 loc", "cls_top1_error": "cls top-1", "loc_top5_error": "top-5 loc",
    "cls_top5_error": "cls top-5", "gt_known_error": "GT-known error",
}  # fmt: skip
PICTURED = ("grad_cam_plus_plus", "layer_cam", "score_cam", "input_gradient")  # Grad-CAM is CAM without what is below 0


def evaluated(folder: Path, checkpoint: Path, *overrides: str) -> Path:
    """Evaluate a checkpoint unless it has been; return the folder of the numbers."""
    if not (folder / "provenance.json").is_file():
        fixed = [f"checkpoint={checkpoint}", f"output_dir={folder}", "gallery_images=0"]
        evaluate(compose("evaluate", [*fixed, *overrides]))
    return folder


def numbers(folder: Path) -> dict[str, dict[str, str]]:
    """Return the test numbers of an evaluation: score map, "" for the floors, -> metric -> value."""
    found: dict[str, dict[str, str]] = {}
    with (folder / "score_maps.csv").open() as file:
        for row in csv.DictReader(file):
            if row["split"] == "test":
                found.setdefault(row["score_map"], {})[row["metric"]] = row["value"]
    return found


def write(path: Path, folders: dict[str, Path], what: str, columns: dict[str, str], lines: list[list[str]]) -> None:
    """Write a Markdown table, and beside it every number of its evaluations, a row each."""
    header = [what, "score map", *columns.values()]
    text = ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *lines)]
    path.with_suffix(".md").write_text("\n".join(text) + "\n")
    with path.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["experiment", what, "commit", "device", "torch", "score_map", "metric", "value"])
        for name, folder in folders.items():
            facts = json.loads((folder / "provenance.json").read_text())
            common = ["baselines", name, facts["commit"], facts["device"], facts["versions"]["torch"]]
            for score_map, values in numbers(folder).items():
                writer.writerows([*common, score_map, metric, value] for metric, value in values.items())


def cells(values: dict[str, str], columns: dict[str, str], prefix: str = "") -> list[str]:
    return [f"{float(values[prefix + m]):.1f}" if prefix + m in values else "-" for m in columns]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", nargs="*", default=[], choices=[*SCORE_MAPS], help="score maps to leave out")
    parser.add_argument("overrides", nargs="*", help="after --: overrides of train, for all methods")
    args = parser.parse_args()

    runs = {method: run(method, args.seed, args.output, args.overrides) for method in METHODS}
    report(compose("report", [f"runs={args.output}", "per_map=true"]))
    spg = runs["spg"] / "checkpoints" / "last.ckpt"

    names = [name for name in SCORE_MAPS if name not in args.without]
    quick = [name for name in names if name != "score_cam"]
    maps = {"spg": evaluated(args.output / "score_maps", spg, f"score_map.name=[{','.join(quick)}]")}
    if "score_cam" in names:  # 256 forwards an image: by itself, in half the precision
        maps["spg, bf16"] = evaluated(args.output / "score_cam", spg, "score_map=score_cam", "precision=bf16-mixed")
    found = {name: values for folder in reversed(maps.values()) for name, values in numbers(folder).items()}
    lines = [["SPG", name, *cells(found[name], METRICS)] for name in names]
    lines += [["floor", text, *cells(found[""], METRICS, f"floor_{name}_")] for name, text in FLOORS.items()]
    write(args.output / "score_maps", maps, "network", METRICS, lines)

    chosen = json.loads((runs["spg"] / "provenance.json").read_text())["score_map"]
    both = list(dict.fromkeys([chosen, "attention"]))
    labels = {
        method: evaluated(
            args.output / f"labels_{method}", spg, f"classifier={runs[method] / 'checkpoints' / 'last.ckpt'}",
            f"score_map.name=[{','.join(both)}]", "report_images=0",
        )
        for method in METHODS
    }  # fmt: skip
    lines = [[TITLES[m], s, *cells(numbers(labels[m])[s], BY_CLASSIFIER)] for s in both for m in METHODS]
    write(args.output / "classifiers", labels, "labels of", BY_CLASSIFIER, lines)

    rows = [column for method in METHODS for column in columns_of(runs[method], TITLES[method])]
    rows += [
        Column(f"SPG: {n}", Localizer.from_checkpoint(spg, n, float(found[n]["threshold"])))
        for n in PICTURED
        if n in names
    ]
    data = build_data(compose("train", [*args.overrides, f"seed={args.seed}", f"output_dir={args.output}"]))
    data.setup()
    write_comparison(args.output / "grid.png", data, rows, 8, transpose=True)


if __name__ == "__main__":
    main()
