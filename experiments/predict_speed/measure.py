"""How fast `predict` is, beside the network alone on the same images in the same process; and its memory over many images.

python experiments/predict_speed/measure.py rate checkpoint=<file> images=<folder> count=256 rounds=3 exported=<file>,<file>
python experiments/predict_speed/measure.py agreement checkpoint=<file> images=<folder> count=256 exported=<file>,<file>
python experiments/predict_speed/measure.py memory checkpoint=<file> images=<folder> count=20000
python experiments/predict_speed/measure.py kills checkpoint=<file> images=<folder> count=1000 kills=20
"""

import gc
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torchvision.ops import box_iou

from spg_lightning import Localizer, compose, predict
from spg_lightning.data.decode import read_image
from spg_lightning.localizer import resize_to_square
from spg_lightning.predicting.inputs import find_images

VARIANTS = {
    "boxes": ["overlays=none"],
    "boxes, RLE masks": ["overlays=none", "masks=rle"],
    "the same, JPEG overlays": ["overlays=jpg", "masks=rle"],
    "the same, PNG overlays": ["overlays=png", "masks=rle"],
    "boxes, RLE masks, bfloat16": ["overlays=none", "masks=rle", "precision=bfloat16"],
}


def rate(options: dict[str, str]) -> None:
    """Print photos a second of each variant, and the ratio to the bare forward of the same round."""
    count, rounds = int(options["count"]), int(options["rounds"])
    paths = find_images(options["images"])[:count]
    listed = Path(tempfile.mkdtemp()) / "list.txt"
    listed.write_text("\n".join(str(path) for path in paths))
    localizer = Localizer.load(options["checkpoint"])
    frames = np.stack([resize_to_square(read_image(path, True), localizer.crop) for path in paths[:64]])
    measured: dict[str, list[float]] = {}
    bare(localizer, frames)
    for _ in range(rounds):
        for name in ("bare forward", "bare forward and score map"):
            measured.setdefault(name, []).append(bare(localizer, frames, with_map="map" in name))
        for name, words in VARIANTS.items():
            measured.setdefault(name, []).append(of_command(options["checkpoint"], listed, len(paths), words))
        for model in exported(options):
            rate_of_model = of_command(model, listed, len(paths), VARIANTS["boxes, RLE masks"])
            measured.setdefault(f"boxes, RLE masks, exported ({Path(model).suffix})", []).append(rate_of_model)
    forward = measured["bare forward"]
    print(
        f"{len(paths)} images, {rounds} rounds, {torch.get_num_threads()} threads, {len(os.sched_getaffinity(0))} cores\n"
    )
    print("| | photos a second, median (range) | share of the bare forward |\n| --- | --- | --- |")
    for name, rates in measured.items():
        share = median(r / f for r, f in zip(rates, forward, strict=True))
        print(
            f"| {name} | {median(rates):.1f} ({min(rates):.1f} to {max(rates):.1f}) | {100 * share:.0f} % |", flush=True
        )


def bare(localizer: Localizer, frames: np.ndarray, with_map: bool = False) -> float:
    """Return images a second of the network on batches that are ready in memory."""
    branches = localizer.score_maps[localizer.name].branches
    batches = [frames[i : i + 16] for i in range(0, len(frames), 16)]
    inputs = [
        localizer.network.stem.normalize(torch.from_numpy(b).permute(0, 3, 1, 2)).contiguous(
            memory_format=torch.channels_last
        )
        for b in batches
    ]
    started = time.perf_counter()
    with torch.no_grad():
        for batch, pixels in zip(inputs, batches, strict=True):
            if with_map:
                localizer.run(pixels, 1)
            else:
                localizer.network(batch, branches)
    return len(frames) / (time.perf_counter() - started)


def of_command(checkpoint: str, listed: Path, count: int, words: list[str]) -> float:
    """Return images a second of the command, without the start of Python, with everything that it writes."""
    folder = Path(tempfile.mkdtemp())
    cfg = compose("predict", [f"checkpoint={checkpoint}", f"images={listed}", f"output_dir={folder}", *words])
    started = time.perf_counter()
    predict(cfg)
    seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    gc.collect()
    return count / seconds


def exported(options: dict[str, str]) -> list[str]:
    """Return the files of exported models that are measured beside the checkpoint."""
    return options["exported"].split(",") if "exported" in options else []


def agreement(options: dict[str, str]) -> None:
    """Print how many boxes and classes of the faster settings are those of the default."""
    folder = Path(tempfile.mkdtemp())
    paths = find_images(options["images"])
    listed = folder / "list.txt"
    listed.write_text("\n".join(str(path) for path in paths[:: max(len(paths) // int(options["count"]), 1)]))
    common, own = [f"images={listed}", "overlays=none", "writer=none"], f"checkpoint={options['checkpoint']}"
    settings = {word: [own, word] for word in ("precision=float32", "precision=bfloat16", "decode=reduced")}
    settings |= {f"exported ({Path(model).suffix})": [f"checkpoint={model}"] for model in exported(options)}
    rows = {}
    for number, (name, words) in enumerate(settings.items()):
        rows[name] = list(predict(compose("predict", [*common, *words, f"output_dir={folder / str(number)}"])))
    default = rows.pop("precision=float32")
    print(
        f"{len(default)} images\n\n| | same boxes | same classes | mean IoU of the boxes | smallest |\n| --- | --- | --- | --- | --- |"
    )
    for word, others in rows.items():
        overlaps = box_iou(*(torch.tensor([row.box for row in own]) for own in (default, others))).diagonal()
        boxes = sum(a.box == b.box for a, b in zip(default, others, strict=True))
        classes = sum(a.class_index == b.class_index for a, b in zip(default, others, strict=True))
        print(f"| {word} | {boxes} | {classes} | {overlaps.mean():.4f} | {overlaps.min():.2f} |")
    shutil.rmtree(folder)


def memory(options: dict[str, str]) -> None:
    """Print the memory of the process after each 2,000 of many images (links to those of the folder)."""
    import threading

    import psutil

    count, folder = int(options["count"]), Path(tempfile.mkdtemp())
    (folder / "photos").mkdir()
    for k, path in enumerate(itertools.islice(itertools.cycle(find_images(options["images"])), count)):
        (folder / "photos" / f"{k:06d}.jpg").symlink_to(path.resolve())
    words = [f"checkpoint={options['checkpoint']}", f"images={folder / 'photos'}", f"output_dir={folder / 'out'}"]
    cfg = compose("predict", [*words, "overlays=none", "masks=rle"])
    done, process = threading.Event(), psutil.Process()

    def watch() -> None:
        journal, last = folder / "out" / "predictions.jsonl", 0
        while not done.wait(1):
            finished = lines(journal)
            if finished // 2000 > last:
                last = finished // 2000
                workers = sum(child.memory_info().rss for child in process.children(recursive=True))
                print(f"| {finished} | {process.memory_info().rss / 1e6:.0f} | {workers / 1e6:.0f} |", flush=True)

    print("| images | MB, process | MB, loader's processes |\n| --- | --- | --- |")
    thread = threading.Thread(target=watch)
    thread.start()
    predict(cfg)
    done.set()
    thread.join()
    print(f"| end | {process.memory_info().rss / 1e6:.0f} | 0 |")
    shutil.rmtree(folder)


def kills(options: dict[str, str]) -> None:
    """Kill the command at random moments, start it again, and compare its rows with those of a run that was not killed."""
    count, folder, rng = int(options["count"]), Path(tempfile.mkdtemp()), random.Random(0)
    listed = folder / "list.txt"
    listed.write_text("\n".join(str(path) for path in find_images(options["images"])[:count]))
    words = [f"checkpoint={options['checkpoint']}", f"images={listed}", "masks=rle", "overlays=jpg"]
    command = [sys.executable, "-m", "spg_lightning.predict", *words]
    subprocess.run([*command, f"output_dir={folder / 'whole'}"], check=True, capture_output=True)
    journal, finished = folder / "killed" / "predictions.jsonl", []
    for kill in range(int(options["kills"])):
        with subprocess.Popen([*command, f"output_dir={folder / 'killed'}"], stderr=subprocess.DEVNULL) as process:
            target = (kill + rng.random()) * count / int(options["kills"])  # spread over the images
            while process.poll() is None and (lines(journal) < target or not rng.random() < 0.2):
                time.sleep(0.01)
            assert process.poll() is None, "it ended before the kill"
            process.kill()
        finished.append(lines(journal))
    subprocess.run([*command, f"output_dir={folder / 'killed'}"], check=True, capture_output=True)
    whole, killed = (json.loads((folder / name / "predictions.json").read_text()) for name in ("whole", "killed"))
    names = [json.loads(line)["image"] for line in journal.read_text().splitlines()[1:]]
    print(f"{len(finished)} kills, with {finished} images finished")
    print(f"{len(whole)} rows, equal: {whole == killed}; images predicted twice: {len(names) - len(set(names))}")
    shutil.rmtree(folder)


def lines(path: Path) -> int:
    """Return the number of finished images of a journal."""
    return max(sum(chunk.count(b"\n") for chunk in iter_chunks(path)) - 1, 0) if path.exists() else 0


def iter_chunks(path: Path):
    """Yield a file in pieces."""
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk


if __name__ == "__main__":
    given = {"count": "256", "rounds": "3", "kills": "20", **dict(word.split("=", 1) for word in sys.argv[2:])}
    {"rate": rate, "agreement": agreement, "memory": memory, "kills": kills}[sys.argv[1]](given)
