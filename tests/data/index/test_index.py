"""The index: the same records, never a stale or half-written one, shared by processes, instant at ImageNet's size."""

import contextlib
import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spg_lightning.data import Records, Splits, read_benchmark_parts, read_folder
from spg_lightning.data.index import cached_reader as indexed
from spg_lightning.data.index.storage import load_index, save_index
from spg_lightning.data.packed_strings import PackedStringLists, PackedStrings
from spg_lightning.data.validation.issues import IssueCollector
from spg_lightning.errors import UserError
from tests.trees import replace_line, write_benchmark, write_folder

FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
ARGUMENTS = {
    "labels": None,
    "split": "auto",
    "fractions": FRACTIONS,
    "seed": 0,
    "boxes": "boxes.csv",
    "apply_exif_orientation": True,
    "masks": None,
}


def ready(folder):
    """Write the index as `prepare` does, and return where it is."""
    arguments = ARGUMENTS | {"root": str(folder)}
    fingerprint = indexed.fingerprint_of(read_folder, arguments)
    splits = read_folder(**arguments, issues=IssueCollector.of(folder))
    return indexed.write_index(read_folder, arguments, splits, fingerprint)


def read(folder):
    return read_folder(**ARGUMENTS, root=str(folder))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SPG_LIGHTNING_CACHE", str(tmp_path / "cache"))
    return write_folder(tmp_path / "photos", "csv")


def equal(one, other):
    for column in ("labels", "sizes", "boxes", "box_offsets"):
        assert np.array_equal(getattr(one, column), getattr(other, column)), column
    for column in ("images", "masks", "ignored"):
        assert tuple(getattr(one, column)) == tuple(getattr(other, column)), column
    for column in ("root", "class_names", "mask_above", "apply_exif_orientation"):
        assert getattr(one, column) == getattr(other, column), column


def test_an_index_holds_the_same_records(folder):
    before = read(folder)
    assert before.test.origin is None
    index = ready(folder)
    assert index.parent == folder / ".spg_lightning"
    after = read(folder)
    assert after.test.origin is not None
    equal(before.train, after.train)
    equal(before.test, after.test)
    equal(before.test.take(np.array([3, 0])), after.test.take(np.array([3, 0])))


def test_masks_and_ignored_regions_go_into_an_index(tmp_path):
    root = write_benchmark(tmp_path, masks=True)
    splits = read_benchmark_parts(str(root), str(root / "metadata"), str(root / "masks"), None)
    save_index(tmp_path / "index", splits)
    loaded = load_index(tmp_path / "index")
    for part in ("train", "val", "test"):
        equal(getattr(splits, part), getattr(loaded, part))


CHANGES = {
    "a box": lambda f: replace_line(f / "boxes.csv", "test/cat/0.jpg", "test/cat/0.jpg,1,2,3,4"),
    "a photo less": lambda f: (f / "train/cat/0.jpg").unlink(),
    "a class more": lambda f: (f / "train/cat").rename(f / "train/cow"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_stale_index_is_not_used(folder, name):
    ready(folder)
    CHANGES[name](folder)
    with contextlib.suppress(UserError):  # read from the files, which do not fit together any more
        assert read(folder).test.origin is None


def test_other_options_do_not_take_it(folder):
    ready(folder)
    assert read_folder(**ARGUMENTS | {"seed": 1}, root=str(folder)).test.origin is None
    assert read_folder(str(folder), *ARGUMENTS.values()).test.origin is not None  # by place or by name


@pytest.mark.parametrize("cut", [0, 5, 40, -1])
@pytest.mark.parametrize("name", ["train.sizes.npy", "test.images.npy", "splits.json"])
def test_a_cut_index_is_not_used(folder, name, cut):
    file = ready(folder) / name
    file.write_bytes(file.read_bytes()[:cut])
    assert read(folder).test.origin is None


def test_a_full_disk_keeps_what_was_there(folder, monkeypatch):
    index = ready(folder)
    before = {path: path.read_bytes() for path in index.iterdir()}

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        ready(folder)
    assert {path: path.read_bytes() for path in index.iterdir()} == before
    assert [path.name for path in index.parent.iterdir()] == [index.name]


def test_where_the_data_cannot_be_written_the_cache_keeps_the_index(folder, monkeypatch, tmp_path):
    (folder / ".spg_lightning").write_text("a file where the folder would be")
    index = ready(folder)
    assert (tmp_path / "cache") in index.parents
    assert read(folder).test.origin[1][0] == index


def test_another_process_maps_the_file_instead_of_getting_a_copy(folder):
    ready(folder)
    records = read(folder).train
    sent = pickle.dumps(records)
    assert len(sent) < 1000
    equal(pickle.loads(sent), records)
    taken = records.take(np.array([1]))
    equal(pickle.loads(pickle.dumps(taken)), taken)


def test_names_are_a_sequence_of_texts():
    texts = ("a", "", "ä/ö.jpg", "b" * 300)
    names = PackedStrings.of(texts)
    assert tuple(names) == texts
    assert names == texts
    assert (names[2], names[-1], names[1:3], len(names)) == (texts[2], texts[3], texts[1:3], 4)
    assert names.take(np.array([3, 0])) == (texts[3], texts[0])
    groups = PackedStringLists.of([("a", "b"), (), ("c",)])
    assert tuple(groups) == (("a", "b"), (), ("c",))
    assert groups.take(np.array([2, 0])) == (("c",), ("a", "b"))
    with pytest.raises(IndexError):
        names[4]


def synthetic(count, classes=1000):
    """Return records as many as ILSVRC's."""
    rng = np.random.default_rng(0)
    names = [f"n{k % classes:08d}/n{k % classes:08d}_{k}.JPEG" for k in range(count)]
    boxed = rng.random(count) < 0.42
    return Records(
        root=Path("/data/ILSVRC"),
        images=PackedStrings.of(names),
        labels=np.arange(count) % classes,
        sizes=rng.integers(100, 600, (count, 2)),
        boxes=rng.random((int(boxed.sum()), 4)),
        box_offsets=np.concatenate([[0], np.cumsum(boxed)]),
        class_names=tuple(map(str, range(classes))),
    )


MEASURE = """
import os, sys, time
from pathlib import Path
from spg_lightning.data.validation.issues import IssueCollector
from spg_lightning.data.index.storage import load_index
def resident():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024
def private():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1024
before, start = resident(), time.perf_counter()
train = load_index(Path(sys.argv[1])).train
every = [array.sum() for array in (train.labels, train.sizes, train.boxes, train.box_offsets, train.images.text)]
loaded = time.perf_counter() - start
grown = resident() - before
children = []
for rank in range(2):
    reader, writer = os.pipe()
    if not os.fork():
        mine = private()
        total = sum(len(train.images[i]) + int(train.labels[i]) + len(train.boxes_of(i)) for i in range(rank, len(train), 16))
        os.write(writer, f"{private() - mine:.1f}".encode())
        os._exit(0)
    children.append(float(os.read(reader, 99)))
    os.wait()
print(loaded, grown, max(children))
"""


@pytest.mark.slow
def test_an_index_of_imagenets_size_is_there_at_once_and_shared(tmp_path):
    records = synthetic(1_280_000)
    path = tmp_path / "index"
    save_index(path, Splits(train=records, val=None, test=records.take(np.arange(1000))))
    out = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    seconds, grown, worker = map(float, out.stdout.split())
    print(f"loaded and read through in {seconds:.3f} s, {grown:.0f} MB of shared pages, a worker's own {worker:.0f} MB")
    assert seconds < 3
    assert grown < 600  # beyond what importing PyTorch takes, itself about 590
    assert worker < 60


def test_the_fingerprint_is_of_what_the_lists_say(folder):
    arguments = {"root": str(folder), "labels": "labels.csv", "boxes": None}
    before = indexed.fingerprint_of(read_folder, arguments)
    assert indexed.fingerprint_of(read_folder, arguments) == before
    (folder / "labels.csv").write_text((folder / "labels.csv").read_text() + "\n")
    assert indexed.fingerprint_of(read_folder, arguments) != before
