"""Time how fast one core turns photos into training batches: a torchvision pipeline on PIL beside ours, in one run.

    python experiments/input_speed/measure.py --output experiments/input_speed

Photos are drawn by code. Every way takes turns with the others, round by round, in a process of its own that is pinned to one
core and works with one thread; the files are in the page cache. What is counted is that process's CPU time, the kernel's for it
included: nothing is waited for, and other programs on the machine disturb it less than a clock. Writes table.md and results.csv.
"""

import argparse
import csv
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from io import BytesIO
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
sys.path.insert(0, str(Path(__file__).parents[2]))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import PIL  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
from PIL import Image  # noqa: E402
from tests.trees import photo_like  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from torchvision import transforms as T  # noqa: E402

from spg_lightning.data import ImageDataset, Records, collate  # noqa: E402
from spg_lightning.data import shards as stored_shards  # noqa: E402
from spg_lightning.data.device_augmentation import cut_windows  # noqa: E402
from spg_lightning.data.images import ImageFiles  # noqa: E402
from spg_lightning.data.samplers import ProcessSampler, SeededSampler  # noqa: E402
from spg_lightning.data.shards.shards import ShardedImages, Shards, write_shards  # noqa: E402
from spg_lightning.data.transforms import Windows, resize_transform, train_transform  # noqa: E402

RESIZE, CROP, BATCH = 256, 224, 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = {
    "500 x 375": ((500, 375), 95),
    "1024 x 768": ((1024, 768), 90),
}  # ILSVRC's typical size, OpenImages30k's; JPEG quality
IMAGENET = 1_281_167
CPUINFO = Path("/proc/cpuinfo")


def draw(folder, size, quality, count):
    """Write photos; return their records, with a box each."""
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(photo_like(size, i)).save(folder / f"{i}.jpg", quality=quality)
    return Records(
        root=folder,
        images=[f"{i}.jpg" for i in range(count)],
        labels=np.arange(count) % 10,
        sizes=np.tile(size, (count, 1)),
        boxes=np.tile([20.0, 20.0, size[0] / 2, size[1] / 2], (count, 1)),
        box_offsets=np.arange(count + 1),
        class_names=tuple(map(str, range(10))),
    )


class PILPhotos(torch.utils.data.Dataset):
    """Photos as people write it with torchvision."""

    def __init__(self, records, transform):
        self.records, self.transform = records, transform

    def __len__(self):
        return len(self.records)

    def __getitem__(self, key):
        index, _ = key
        with Image.open(self.records.root / self.records.images[index]) as photo:
            return self.transform(photo.convert("RGB")), int(self.records.labels[index])


class RawPhotos:
    """What shards of raw pixels would give: the same photos as numbers in one file, each copied out."""

    def __init__(self, path, count):
        self.pixel_hist = np.memmap(path, np.uint8, "r", shape=(count, RESIZE, RESIZE, 3))

    def __call__(self, index):
        return np.array(self.pixel_hist[index])


def on_the_device(batch, crop=None):
    """What is left to the device, here the same core: cut windows if there are any, normalise as the module does."""
    if crop is not None:
        batch = cut_windows(batch, crop)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (MEAN, STD))
    return (batch["image"].float() - mean) / std


def pil(records, work, last):
    """Return the torchvision pipeline: a data set, how its samples are put together, and what follows on the device."""
    steps = [T.Resize((RESIZE, RESIZE)), T.RandomCrop(CROP), T.RandomHorizontalFlip(), *last]
    return PILPhotos(records, T.Compose(steps)), None, None


def ours(records, work, source=None, device=False, with_boxes=False, normalised=False):
    """Return our pipeline, with the parts that the data module puts together."""
    dataset = ImageDataset(
        records,
        resize_transform(RESIZE) if device else train_transform(RESIZE, CROP),
        "error",
        with_masks=False,
        with_boxes=with_boxes,
        source=source(records, work) if source else None,
        windows=Windows(RESIZE, CROP) if device else None,
    )
    return dataset, collate, partial(on_the_device, crop=CROP if device else None) if normalised else None


def reduced(records, work):
    return ImageFiles(records, RESIZE)


def shards(records, work):
    return ShardedImages(Shards(str(work / "shards"), records, RESIZE), np.arange(len(records)))


def raw(records, work):
    return RawPhotos(work / "raw.bin", len(records))


FLOAT = (T.ToTensor(), T.Normalize(MEAN, STD))
WAYS = {
    "PIL, ToTensor, Normalize": partial(pil, last=FLOAT),
    "PIL, uint8": partial(pil, last=(T.PILToTensor(),)),
    "files, full": ours,
    "files, full, normalised on the same core": partial(ours, normalised=True),
    "files, full, boxes follow": partial(ours, with_boxes=True),
    "files, reduced": partial(ours, source=reduced),
    "files, windows for the device": partial(ours, device=True),
    "files, windows and normalisation on the same core": partial(ours, device=True, normalised=True),
    "shards": partial(ours, source=shards),
    "shards, normalised on the same core": partial(ours, source=shards, normalised=True),
    "shards, windows for the device": partial(ours, source=shards, device=True),
    "raw pixels (not offered)": partial(ours, source=raw),
}
MEMORY = ("PIL, uint8", "files, full", "files, reduced", "files, windows for the device", "shards")
REFERENCE = "PIL, ToTensor, Normalize"


def memory(process):
    """Return a process's unique and resident memory in MB."""
    rollup = dict(
        line.split(":") for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:] if ":" in line
    )
    kb = {key: int(value.split()[0]) for key, value in rollup.items()}
    return (kb["Private_Clean"] + kb["Private_Dirty"]) / 1024, kb["Rss"] / 1024


def start(way, records, work):
    """Return a function that makes an epoch of batches and gives the photos a second."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    dataset, put_together, after = WAYS[way](records, work)
    sampler = SeededSampler(ProcessSampler(len(records), 0, 1, shuffle_seed=0), 0)
    loader = DataLoader(dataset, batch_size=BATCH, sampler=sampler, collate_fn=put_together, drop_last=True)

    def epoch(number):
        sampler.set_epoch(number)
        begin, photos = time.process_time(), 0
        for batch in loader:
            if after is not None:
                after(batch)
            photos += BATCH
        return photos / (time.process_time() - begin)

    return epoch


def child(way, folder, work, core):
    """Serve epochs: a number comes in, photos a second go out."""
    os.sched_setaffinity(0, {core})
    records = stored(folder)
    epoch = start(way, records, work)
    for line in sys.stdin:
        speed = epoch(int(line))
        print(speed, flush=True)


def stored(folder):
    """Return the records of photos that `draw` wrote."""
    paths = sorted(folder.glob("*.jpg"), key=lambda path: int(path.stem))
    sizes = []
    for path in paths:
        with Image.open(path) as photo:
            sizes.append(photo.size)
    corners = np.array([[20.0, 20.0, width / 2, height / 2] for width, height in sizes])
    names = tuple(map(str, range(10)))
    numbers = np.arange(len(paths))
    return Records(
        folder, [path.name for path in paths], numbers % 10, np.array(sizes), corners, np.arange(len(paths) + 1), names
    )


def compare(folder, work, ways, rounds, core):
    """Return way -> photos a second in each round; the ways take turns."""
    servers = {
        way: subprocess.Popen(
            [sys.executable, __file__, "--child", way, "--folder", folder, "--work", work, "--core", str(core)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for way in ways
    }
    found = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, server in servers.items():
            server.stdin.write(f"{number}\n")
            server.stdin.flush()
            speed = float(server.stdout.readline())
            if number:  # the first warms up
                found[way].append(speed)
    for server in servers.values():
        server.stdin.close()
        server.wait()
    return found


def worker_memory(records, work, way, epochs=3):
    """Return the unique and the resident MB of a forked loader worker after each epoch, the mean of two."""
    dataset, put_together, _ = WAYS[way](records, work)
    sampler = SeededSampler(ProcessSampler(len(records), 0, 1, shuffle_seed=0), 0)
    loader = DataLoader(
        dataset, BATCH, sampler=sampler, collate_fn=put_together, num_workers=2, persistent_workers=True, drop_last=True
    )
    rows = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for _ in loader:
            pass
        found = [memory(process.pid) for process in loader._iterator._workers]
        rows.append([statistics.mean(values) for values in zip(*found, strict=True)])
    return rows


def decoders(folder, rounds):
    """Return decoder -> milliseconds a photo, each photo's median over the rounds; they take turns photo by photo."""
    files = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))[:40]]

    def opencv(flag):
        return lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), flag)

    def draft(data, factor):
        with Image.open(BytesIO(data)) as photo:
            photo.draft("RGB", (photo.width // factor, photo.height // factor))
            return np.asarray(photo)

    tried = {
        "Pillow": lambda data: np.asarray(Image.open(BytesIO(data)).convert("RGB")),
        "Pillow, draft 1/2": partial(draft, factor=2),
        "OpenCV": opencv(cv2.IMREAD_COLOR),
        "OpenCV 1/2": opencv(cv2.IMREAD_REDUCED_COLOR_2),
        "OpenCV 1/4": opencv(cv2.IMREAD_REDUCED_COLOR_4),
        "torchvision.io": lambda data: torchvision.io.decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8)),
    }
    try:
        import simplejpeg
    except ImportError:
        print("simplejpeg is not installed and left out")
    else:
        tried["simplejpeg"] = lambda data: simplejpeg.decode_jpeg(data, "RGB")
        for eighths in (7, 6, 5, 4):

            def scaled(data, eighths=eighths):
                height, width = simplejpeg.decode_jpeg_header(data)[:2]
                return simplejpeg.decode_jpeg(
                    data, "RGB", min_height=-(-height * eighths // 8) - 1, min_width=-(-width * eighths // 8) - 1
                )

            tried[f"simplejpeg {eighths}/8"] = scaled
    times = {name: [[] for _ in files] for name in tried}
    for _ in range(rounds):
        for i, data in enumerate(files):
            for name, decode in tried.items():
                begin = time.process_time()
                decode(data)
                times[name][i].append(1000 * (time.process_time() - begin))
    return {name: [statistics.median(of) for of in rows] for name, rows in times.items()}


def random_reads(records, work):
    """Return milliseconds to give a photo's bytes from anywhere: litdata's own reader, and ours with decoding."""
    from litdata import StreamingDataset

    before, stored_shards.CHUNK_BYTES = stored_shards.CHUNK_BYTES, 1 << 20  # many chunks from few photos
    write_shards(records, RESIZE, work / "chunks", 1, lambda done: None)
    stored_shards.CHUNK_BYTES = before
    theirs, mine = StreamingDataset(str(work / "chunks")), Shards(str(work / "chunks"), records, RESIZE)
    order = np.random.default_rng(0).permutation(len(records)).tolist()
    found = {}
    for name, read in (("litdata, bytes", theirs.__getitem__), ("ours, pixels", mine)):
        rows = []
        for row in order:
            begin = time.process_time()
            read(row)
            rows.append(1000 * (time.process_time() - begin))
        found[name] = rows[len(rows) // 4 :]
    return found


def quartiles(values):
    return statistics.quantiles(values, n=4)


def shown(values, digits=0):
    low, middle, high = quartiles(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def processor():
    """Return the processor's name."""
    names = [line.split(":")[1].strip() for line in CPUINFO.read_text().splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--photos", type=int, default=640, help="photos of each size")
    parser.add_argument("--rounds", type=int, default=9, help="epochs that are timed, after one to warm up")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.folder, args.work, args.core)
        return
    if args.output is None:
        parser.error("--output is needed")
    os.sched_setaffinity(0, {args.core})
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows, lines = [], []
    versions = f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}, Pillow {PIL.__version__}, OpenCV {cv2.__version__}"
    lines += [f"{processor()}, one core, {versions}.", ""]

    def keep(table, name, unit, values):
        low, middle, high = quartiles(values)
        rows.append([table, name, unit, len(values), f"{middle:.6g}", f"{low:.6g}", f"{high:.6g}"])

    with tempfile.TemporaryDirectory() as temporary:
        for label, (size, quality) in SIZES.items():
            main_size = label == next(iter(SIZES))
            work = Path(temporary) / label.replace(" ", "")
            count = args.photos if main_size else max(args.photos // 4, 2 * BATCH)
            records = draw(work / "photos", size, quality, count)
            kilobytes = [path.stat().st_size / 1000 for path in (work / "photos").iterdir()]
            keep(label, "file", "kB", kilobytes)
            _, written = write_shards(records, RESIZE, work / "shards", 1, lambda done: None)
            keep(label, "photo in shards", "kB", [written / count / 1000] * 2)
            if main_size:
                pixels = [cv2.resize(ImageFiles(records)(i), (RESIZE, RESIZE)) for i in range(count)]
                (work / "raw.bin").write_bytes(b"".join(picture.tobytes() for picture in pixels))
            ways = list(WAYS) if main_size else [REFERENCE, "files, full", "files, reduced", "shards"]
            found = compare(work / "photos", work, ways, args.rounds, args.core)
            lines += [
                f"Photos of {label}, {statistics.mean(kilobytes):.0f} kB a file (JPEG quality {quality}), to {RESIZE} x {RESIZE}, "
                f"window {CROP} x {CROP}, flip, batches of {BATCH}; {count} photos, {args.rounds} epochs each:",
                "",
                "| way | photos a second of a core, median (quartiles) | times the first, median of rounds |",
                "| --- | --- | --- |",
            ]
            for way, speeds in found.items():
                ratios = [speed / first for speed, first in zip(speeds, found[REFERENCE], strict=True)]
                keep(label, way, "photos/s", speeds)
                keep(label, way, "times PIL", ratios)
                lines.append(f"| {way} | {shown(speeds)} | {shown(ratios, 2)} |")
            lines.append("")
            lines += [
                f"Decoders, the same photos ({label}), milliseconds a photo:",
                "",
                "| decoder | ms |",
                "| --- | --- |",
            ]
            for name, values in decoders(work / "photos", args.rounds).items():
                keep(label, f"decoder {name}", "ms", values)
                lines.append(f"| {name} | {shown(values, 2)} |")
            lines.append("")
            if main_size:
                lines += [
                    "Storage of photos at 256 x 256:",
                    "",
                    "| stored as | kB a photo | GB for ILSVRC's 1281167 |",
                    "| --- | --- | --- |",
                ]
                for name, each in (
                    ("files as they are", statistics.mean(kilobytes)),
                    ("shards (JPEG, quality 95)", written / count / 1000),
                    ("raw pixels", RESIZE * RESIZE * 3 / 1000),
                ):
                    keep("storage", name, "kB", [each] * 2)
                    lines.append(f"| {name} | {each:.1f} | {each * IMAGENET / 1e6:.0f} |")
                lines += [
                    "",
                    f"Memory of a loader worker (the mean of two, {count} photos an epoch), MB:",
                    "",
                    "| way | unique after epoch 1, 2, 3 | resident after epoch 3 |",
                    "| --- | --- | --- |",
                ]
                for way in MEMORY:
                    of = worker_memory(records, work, way)
                    for number, (unique, _) in enumerate(of, start=1):
                        keep("worker memory", f"{way}, unique, epoch {number}", "MB", [unique] * 2)
                    lines.append(f"| {way} | {', '.join(f'{row[0]:.1f}' for row in of)} | {of[-1][1]:.0f} |")
                reads = random_reads(records, work)
                lines += [
                    "",
                    "A photo from anywhere in the shards (chunks of 1 MB), milliseconds:",
                    "",
                    "| reader | ms |",
                    "| --- | --- |",
                ]
                for name, values in reads.items():
                    keep("random reads", name, "ms", values)
                    lines.append(f"| {name} | {shown(values, 2)} |")
                lines.append("")
    text = "\n".join(lines).rstrip() + "\n"
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "table.md").write_text(text)
    with (args.output / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["table", "measured", "unit", "values", "median", "quartile1", "quartile3"])
        writer.writerows(rows)
    print(text)


if __name__ == "__main__":
    main()
