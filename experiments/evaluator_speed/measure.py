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

from spg_lightning.localization import LocalizationMetric, scan_thresholds  # noqa: E402

SIDE, THRESHOLDS = 224, 1000
CPUINFO = Path("/proc/cpuinfo")


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


def opencv_loop(score_map, truth, thresholds, every):
    """Return the best IoU at each threshold, as the benchmark's evaluator computes it.

    Written from its description: for each threshold take the map's maximum, threshold, find the contours, box the largest
    or all of them; then compare all boxes with the ground truth, and take each threshold's best.
    """
    image = (score_map * 255).astype(np.uint8)[..., None]
    boxes, counts = [], []
    for threshold in thresholds:
        _, binary = cv2.threshold(image, int(threshold * np.max(image)), 255, cv2.THRESH_BINARY)
        contours = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        if contours and not every:
            contours = [max(contours, key=cv2.contourArea)]
        found = [[0, 0, 0, 0]] if not contours else []
        for contour in contours:
            x, y, width, height = cv2.boundingRect(contour)
            found.append([x, y, min(x + width, image.shape[1] - 1), min(y + height, image.shape[0] - 1)])
        boxes.append(np.array(found))
        counts.append(len(found))
    best = inclusive_ious(np.concatenate(boxes), truth).max(1)
    return np.maximum.reduceat(best, np.cumsum([0, *counts[:-1]]))


def inclusive_ious(boxes, truth):
    """Return the IoU of each box with each ground-truth box, pixels counted inclusively."""
    low = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    both = np.maximum(high - low + 1, 0).prod(2)
    areas = [(b[:, 2] - b[:, 0] + 1) * (b[:, 3] - b[:, 1] + 1) for b in (boxes, truth)]
    return both / (areas[0][:, None] + areas[1][None] - both)


def timed(function, *arguments):
    """Return what a call gives, and its milliseconds."""
    start = time.perf_counter()
    result = function(*arguments)
    return result, 1000 * (time.perf_counter() - start)


def metric_update(score_map, truth, mask, metric):
    """Count one image in everything: scan, overlaps at all thresholds, pixel histograms."""
    right = torch.ones(1, dtype=torch.bool)
    metric.update(
        torch.from_numpy(score_map[None]), [truth], right, right, torch.from_numpy(mask[None].astype(np.int8))
    )


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
        found, took = timed(scan_thresholds, score_map, truth)
        times["scan"].append(took)
        times["metric"].append(timed(metric_update, score_map, truth, mask, metric)[1])
        if with_loop:
            levels = found.levels(thresholds)
            for name, every, ours in (("largest", False, found.largest_iou), ("all", True, found.all_iou)):
                theirs, took = timed(opencv_loop, score_map, truth, thresholds, every)
                times[f"loop, {name}"].append(took)
                assert np.array_equal(ours[levels], theirs)  # what is compared has to agree
    return {name: values for name, values in times.items() if values}


def processor():
    """Return the processor's name."""
    names = [line.split(":")[1].strip() for line in CPUINFO.read_text().splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


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
        count = args.images if kind != "pixel noise" else max(args.images // 5, 2)  # the loop takes ten seconds there
        times = measure(kind, side, num_thresholds, count, rng, with_loop)
        for name, values in times.items():
            low, middle, high = statistics.quantiles(values, n=4)
            rows.append([table, kind, side, num_thresholds, name, count, middle, low, high])
        return times

    lines = [f"{processor()}, one core, OpenCV {cv2.__version__}; milliseconds an image, median (quartiles).", ""]
    lines += [
        f"Maps of {SIDE} x {SIDE}, {THRESHOLDS} thresholds:",
        "",
        "| map | scan: largest and all contours | loop, largest | loop, all | all / scan | both / scan | whole metric |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind in KINDS:
        times = add("kinds", kind, SIDE, THRESHOLDS, True)
        ratios = [loop / ours for loop, ours in zip(times["loop, all"], times["scan"], strict=True)]
        both = [
            ratio + loop / ours for ratio, loop, ours in zip(ratios, times["loop, largest"], times["scan"], strict=True)
        ]
        lines.append(
            f"| {kind} | {shown(times['scan'])} | {shown(times['loop, largest'])} | {shown(times['loop, all'])} "
            f"| {statistics.median(ratios):.0f} | {statistics.median(both):.0f} | {shown(times['metric'])} |"
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
