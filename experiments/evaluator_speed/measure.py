"""Time the evaluator on one core: our scan of all levels beside a loop of OpenCV calls, one a threshold.

    python experiments/evaluator_speed/measure.py --output experiments/evaluator_speed

Writes table.md and results.csv. Every number is of one run: loop and scan take turns, map by map.
"""

import argparse
import csv
import os
import platform
import statistics
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from spg_lightning.localization import LocalizationMetric, scan  # noqa: E402

SIDE, THRESHOLDS = 224, 1000


def upsampled(cells):
    """Return maps as networks give them: a few cells, upsampled bilinearly, min-max normalised."""

    def draw(rng, side):
        grown = cv2.resize(rng.random((cells, cells)).astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
        return (grown - grown.min()) / (grown.max() - grown.min())

    return draw


def pixel_noise(rng, side):
    """Return independent pixels."""
    return rng.random((side, side)).astype(np.float32)


KINDS = {f"{n} x {n} cells": upsampled(n) for n in (7, 14, 28, 56)} | {"pixel noise": pixel_noise}


def opencv_loop(score_map, thresholds, every):
    """Return the boxes at each threshold as the benchmark's evaluator finds them: threshold, contours, boxes."""
    image = (score_map * 255).astype(np.uint8)[..., None]
    top = image.max()
    out = []
    for threshold in thresholds:
        _, binary = cv2.threshold(image, int(threshold * top), 255, cv2.THRESH_BINARY)
        contours = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        if not contours:
            out.append([[0, 0, 0, 0]])
            continue
        if not every:
            contours = [max(contours, key=cv2.contourArea)]
        boxes = []
        for contour in contours:
            x, y, width, height = cv2.boundingRect(contour)
            boxes.append([x, y, min(x + width, image.shape[1] - 1), min(y + height, image.shape[0] - 1)])
        out.append(boxes)
    return out


def milliseconds(function, *arguments):
    """Return how long one call took."""
    start = time.perf_counter()
    function(*arguments)
    return 1000 * (time.perf_counter() - start)


def metric_update(score_map, truth, mask, metric):
    """Count one image in everything: scan, overlaps at all thresholds, pixel histograms."""
    right = torch.ones(1, dtype=torch.bool)
    metric.update(torch.from_numpy(score_map[None]), [truth], right, right, torch.from_numpy(mask[None]))


def measure(kind, side, num_thresholds, count, rng, with_loop):
    """Return rows: what was timed, and each image's milliseconds; what is compared takes turns on the same map."""
    truth = np.array([[side // 4, side // 4, side // 2, side // 2]])
    mask = np.zeros((side, side), bool)
    mask[side // 4 : side // 2, side // 4 : side // 2] = True
    thresholds = np.arange(0, 1, 1 / num_thresholds)
    metric = LocalizationMetric(num_thresholds)
    times = {"scan": [], "metric": [], "loop, largest": [], "loop, all": []}
    for _ in range(count):
        score_map = KINDS[kind](rng, side)
        times["scan"].append(milliseconds(scan, score_map, truth))
        times["metric"].append(milliseconds(metric_update, score_map, truth, mask, metric))
        if with_loop:
            times["loop, largest"].append(milliseconds(opencv_loop, score_map, thresholds, False))
            times["loop, all"].append(milliseconds(opencv_loop, score_map, thresholds, True))
    return {name: values for name, values in times.items() if values}


def shown(values):
    """Return the median and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--images", type=int, default=20, help="maps of each kind")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    measure("7 x 7 cells", 64, 100, 3, rng, True)  # compile, warm up
    rows = []

    def add(table, kind, side, num_thresholds, with_loop):
        times = measure(kind, side, num_thresholds, args.images, rng, with_loop)
        for name, values in times.items():
            low, middle, high = statistics.quantiles(values, n=4)
            rows.append([table, kind, side, num_thresholds, name, args.images, middle, low, high])
        return times

    lines = [f"{platform.processor() or platform.machine()}, one core; milliseconds an image, median (quartiles).", ""]
    lines += [
        f"Maps of {SIDE} x {SIDE}, {THRESHOLDS} thresholds:",
        "",
        "| map | scan: largest and all contours | OpenCV loop, largest | OpenCV loop, all | all / scan | whole metric |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for kind in KINDS:
        times = add("kinds", kind, SIDE, THRESHOLDS, True)
        ratios = [loop / ours for loop, ours in zip(times["loop, all"], times["scan"], strict=True)]
        lines.append(
            f"| {kind} | {shown(times['scan'])} | {shown(times['loop, largest'])} | {shown(times['loop, all'])} "
            f"| {statistics.median(ratios):.0f} | {shown(times['metric'])} |"
        )
    lines += ["", f"Growth with the map's side (14 x 14 cells, {THRESHOLDS} thresholds):", ""]
    lines += ["| side | scan | OpenCV loop, all | all / scan |", "| --- | --- | --- | --- |"]
    for side in (56, 112, 224, 448):
        times = add("side", "14 x 14 cells", side, THRESHOLDS, True)
        ratios = [loop / ours for loop, ours in zip(times["loop, all"], times["scan"], strict=True)]
        lines.append(
            f"| {side} | {shown(times['scan'])} | {shown(times['loop, all'])} | {statistics.median(ratios):.0f} |"
        )
    lines += ["", f"Growth with the thresholds (14 x 14 cells, {SIDE} x {SIDE}):", ""]
    lines += ["| thresholds | scan | whole metric | OpenCV loop, all |", "| --- | --- | --- | --- |"]
    for num in (10, 100, 1000, 10000):
        times = add("thresholds", "14 x 14 cells", SIDE, num, num <= 1000)
        loop = shown(times["loop, all"]) if "loop, all" in times else "-"
        lines.append(f"| {num} | {shown(times['scan'])} | {shown(times['metric'])} | {loop} |")
    text = "\n".join(lines) + "\n"
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "table.md").write_text(text)
    with (args.output / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["table", "map", "side", "thresholds", "timed", "images", "median_ms", "quartile1_ms", "quartile3_ms"]
        )
        writer.writerows(rows)
    print(text)


if __name__ == "__main__":
    main()
