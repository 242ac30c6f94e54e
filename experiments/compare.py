"""Train several methods on the same data for the same steps, evaluate every score map, and set them side by side.

    python experiments/compare.py --output runs/demo                       # what `make demo` runs
    python experiments/compare.py --output DIR --methods cam has adl cutmix spg    # these instead of spg_plain and spg
    python experiments/compare.py --output DIR --seeds 0 1 2 -- dataset=cub dataset.root=... # any overrides of `train`

Writes results.csv (a row a number), table.md (made from it) and comparison_seed<n>.png into DIR; the runs lie below it.
A run that is already there is not trained again.
"""

import argparse
import csv
import json
import statistics
from pathlib import Path

from rich.console import Console
from rich.table import Table

from spg_lightning import train
from spg_lightning.build import build_data, load_network
from spg_lightning.cli import compose
from spg_lightning.reporting.comparison import Column, write_comparison

METHODS = {"spg_plain": "SPG-plain", "spg": "SPG"}  # compared by default
TITLES = {**METHODS, "cam": "CAM", "has": "HaS", "cutmix": "CutMix", "adl": "ADL", "acol": "ACoL"}
METRICS = {
    "gt_known_error": "GT-known error",
    "gt_known_error_oracle": "oracle",
    "loc_top1_error": "top-1 loc",
    "loc_top5_error": "top-5 loc",
    "max_box_acc_v2": "MaxBoxAccV2",
    "pxap": "PxAP",
    "cls_top1_error": "cls top-1",
    "cls_top5_error": "cls top-5",
}


def run(method: str, seed: int, output: Path, overrides: list[str]) -> Path:
    """Train one method with one seed unless it has been; return its run folder."""
    folder = output / f"{method}-seed{seed}"
    if not (folder / "provenance.json").is_file():
        train(compose("train", [*overrides, f"method={method}", f"seed={seed}", f"output_dir={folder}"]))
    return folder


def rows_of(folder: Path, method: str, seed: int) -> list[dict[str, object]]:
    """Return every number of a run as rows."""
    facts = json.loads((folder / "provenance.json").read_text())
    common = {
        "method": method, "seed": seed, "commit": facts["commit"], "device": facts["device"],
        "torch": facts["versions"]["torch"], "steps": facts["steps"], "fit_seconds": facts["fit_seconds"],
    }  # fmt: skip
    with (folder / "score_maps.csv").open() as file:
        found = list(csv.DictReader(file))
    return [
        {**common, **row, "chosen": int(row["score_map"] == facts["score_map"])}
        for row in found
        if row["split"] == "test"
    ]


def spread(values: list[float]) -> str:
    """Return the mean, with the range where there are several."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def table(rows: list[dict[str, object]]) -> list[list[str]]:
    """Return a line a method and score map, then the map chosen on val, then the floors; numbers over the seeds."""

    def cells(chosen_rows: list[dict[str, object]]) -> list[str]:
        return [
            spread(values) if (values := [float(r["value"]) for r in chosen_rows if r["metric"] == metric]) else "-"
            for metric in METRICS
        ]

    out = []
    for method in dict.fromkeys(str(r["method"]) for r in rows):
        of_method = [r for r in rows if r["method"] == method]
        for name in dict.fromkeys(str(r["score_map"]) for r in of_method if r["score_map"]):
            out.append([TITLES[method], name, *cells([r for r in of_method if r["score_map"] == name])])
        if len({r["score_map"] for r in of_method}) > 2:
            picked = sorted({str(r["score_map"]) for r in of_method if r["chosen"]})
            out.append([TITLES[method], f"chosen: {', '.join(picked)}", *cells([r for r in of_method if r["chosen"]])])
    floors = [r for r in rows if r["method"] == rows[0]["method"] and not r["score_map"]]
    for name, text in (("center", "centred box"), ("whole", "whole image")):
        renamed = [
            {**r, "metric": str(r["metric"]).removeprefix(f"floor_{name}_")}
            for r in floors
            if f"_{name}_" in str(r["metric"])
        ]
        out.append(["floor", text, *cells(renamed)])
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", default=[*METHODS], choices=[*TITLES], metavar="METHOD")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--photos", type=int, default=8, help="rows of the comparison sheet")
    parser.add_argument("overrides", nargs="*", help="after --: overrides of train, for all methods")
    args = parser.parse_args()

    rows: list[dict[str, object]] = []
    for seed in args.seeds:
        columns = []
        for method in args.methods:
            folder = run(method, seed, args.output, args.overrides)
            rows += rows_of(folder, method, seed)
            metrics = json.loads((folder / "metrics.json").read_text())
            network, description = load_network(folder / "checkpoints" / "last.ckpt")
            maps = dict.fromkeys(["attention", description.localization["score_map"]])
            columns += [Column(f"{TITLES[method]}: {m}", network, m, metrics[f"test/{m}/threshold"]) for m in maps]
        data = build_data(compose("train", [*args.overrides, f"seed={seed}", f"output_dir={args.output}"]))
        data.setup()
        write_comparison(args.output / f"comparison_seed{seed}.png", data, columns, args.photos)

    with (args.output / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    lines = table(rows)
    header = ["method", "score map", *METRICS.values()]
    markdown = ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *lines)]
    (args.output / "table.md").write_text("\n".join(markdown) + "\n")

    # what fits a terminal; table.md has every column
    kept = [
        header.index(name) for name in ("method", "score map", "GT-known error", "oracle", "top-1 loc", "cls top-1")
    ]
    shown = Table(
        title="test part, errors in percent (lower is better); map, threshold chosen on val", title_justify="left"
    )
    for k in kept:
        shown.add_column(header[k].replace(" ", "\n", 1) if k > 1 else header[k], justify="left" if k < 2 else "right")
    for line in lines:
        shown.add_row(*(line[k] for k in kept))
    Console().print(shown)
    print(f"pictures: {args.output}/comparison_seed{args.seeds[0]}.png, {args.output}/*/gallery/overview.png")


if __name__ == "__main__":
    main()
