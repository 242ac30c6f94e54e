"""Shards: the same photos in the same order as from files, never half-written or of other photos, and fetched once."""

import errno
import functools
import json
import os
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from spg_lightning import UserError, compose, prepare, train
from spg_lightning.config.build import build_data
from spg_lightning.data import ImageDataset, collate, read_cub
from spg_lightning.data.images import ImageFiles
from spg_lightning.data.samplers import SHUFFLE_BUFFER_CHUNKS, ProcessSampler, SeededSampler
from spg_lightning.data.shards import litdata_layout
from spg_lightning.data.shards.shard_folder import fsspec
from spg_lightning.data.shards.shards import ShardedImages, Shards, hash_records, write_shards
from spg_lightning.data.transforms import train_transform
from tests.conftest import TINY
from tests.trees import replace_line, write_cub

pytest.importorskip("litdata", reason="the extra `shards` is not installed")
RESIZE = 72


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return read_cub(str(write_cub(tmp_path_factory.mktemp("shards") / "cub", size=(200, 160)))).train


@pytest.fixture(scope="module")
def small_chunks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(litdata_layout, "CHUNK_BYTES", 12_000)
        yield


@pytest.fixture(scope="module")
def folder(records, small_chunks):
    folder = records.root.parent / "written"
    files, size = write_shards(records, RESIZE, folder, 2, lambda done: None)
    assert files == len(list(folder.iterdir())) > 5
    assert size == sum(path.stat().st_size for path in folder.iterdir())
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPG_LIGHTNING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "shards"


def test_photos_are_those_of_the_files_at_a_jpegs_tolerance(records, folder):
    import cv2

    read, files = Shards(str(folder), records, RESIZE), ImageFiles(records)
    assert len(read.chunks) > 2
    for row in range(len(records)):
        expected = cv2.resize(files(row), (RESIZE, RESIZE))
        got = read(row)
        assert got.shape == (RESIZE, RESIZE, 3)
        others = [np.abs(got.astype(int) - cv2.resize(files(k), (RESIZE, RESIZE))).mean() for k in (row - 1, row - 2)]
        # independent noise in each colour, which no photo has, is what JPEG keeps worst
        assert np.abs(got.astype(int) - expected).mean() < 10 < min(others)


def spoil(name):
    return {
        "a chunk is missing": lambda f: sorted(f.glob("*.bin"))[1].unlink(),
        "a chunk is cut": lambda f: os.truncate(sorted(f.glob("*.bin"))[1], 100),
        "the manifest is missing": lambda f: (f / "shards.index.json").unlink(),
        "the manifest is cut": lambda f: os.truncate(f / "shards.index.json", 20),
        "litdata's index is missing": lambda f: (f / "index.json").unlink(),
        "the index is of others": lambda f: (f / "index.json").write_text('{"chunks": []}'),
    }[name]


HALF = {
    "a chunk is missing": "is missing",
    "a chunk is cut": "has 100 bytes of",
    "the manifest is missing": "has no complete shards",
    "the manifest is cut": "has no complete shards",
    "litdata's index is missing": "has no complete shards",
    "the index is of others": "does not fit",
}


@pytest.mark.parametrize("name", HALF)
def test_half_written_or_half_copied_shards_are_refused(records, folder, tmp_path, name):
    shutil.copytree(folder, tmp_path / "copy")
    spoil(name)(tmp_path / "copy")
    with pytest.raises(UserError, match=HALF[name]) as error:
        Shards(str(tmp_path / "copy"), records, RESIZE)
    assert "dataset.shards=" in str(error.value)
    assert "\n" not in str(error.value)


def test_shards_of_other_photos_are_refused(records, folder):
    for other, size, said in (
        (records, 64, "has resize=72, this run resize=64"),
        (records.take(np.arange(5)), RESIZE, "has photos=12, this run photos=5"),
        (records.take(np.arange(len(records))[::-1]), RESIZE, "holds other images"),
    ):
        with pytest.raises(UserError, match=said):
            Shards(str(folder), other, size)
    assert hash_records(records) == hash_records(records.take(np.arange(len(records))))


def test_a_full_disk_leaves_nothing(records, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_shards(records, RESIZE, tmp_path / "s", 1, lambda done: None)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_no_folder_of_shards(records, tmp_path):
    left = tmp_path / ".s-unfinished"
    left.mkdir()
    (left / "chunk-0-7.bin").write_bytes(b"x")
    write_shards(records, RESIZE, tmp_path / "s", 1, lambda done: None)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert not (tmp_path / "s" / "chunk-0-7.bin").exists()


def test_prepare_writes_them_and_training_reads_them(records, tmp_path, caplog, monkeypatch, small_chunks):
    monkeypatch.setenv("SPG_LIGHTNING_CACHE", str(tmp_path / "cache"))
    root = write_cub(tmp_path / "cub", size=(200, 160))
    words = ["dataset=cub", f"dataset.root={root}", f"dataset.resize={RESIZE}"]
    call = ["shards=true", "num_workers=1", f"output_dir={tmp_path / 'p'}"]
    prepared = prepare(compose("prepare", [*words, *call]))
    assert prepared.shards.name == "shards-72"
    stamp = (prepared.shards / "shards.index.json").stat().st_mtime_ns
    caplog.set_level("INFO")
    assert prepare(compose("prepare", [*words, *call])).shards == prepared.shards
    assert "exists and is complete" in caplog.text
    assert (prepared.shards / "shards.index.json").stat().st_mtime_ns == stamp

    run = [*TINY, "trainer.max_epochs=1", "gallery_images=0", "report_images=0", *words]
    cfg = compose("train", [*run, f"dataset.shards={prepared.shards}", f"output_dir={tmp_path / 'run'}"])
    data = build_data(cfg)
    data.setup()
    files = build_data(compose("train", [*run, "output_dir=x"]))
    files.setup()
    one, other = data.train_dataset(with_boxes=True), files.train_dataset(with_boxes=True)
    keys = list(data.train_dataloader().sampler)
    assert keys == list(files.train_dataloader().sampler)  # the same photos and seeds in the same order
    for key in keys:
        mine, theirs = one[key], other[key]
        assert mine["label"] == theirs["label"]
        assert torch.allclose(mine["boxes"], theirs["boxes"], atol=1e-3)
        assert (mine["image"].int() - theirs["image"].int()).abs().float().mean() < 10
    for image in data.records["train"].images:  # training takes nothing from their files
        (root / "images" / image).write_bytes(b"x")
    result = train(cfg)
    assert result.metrics["test/num_images"] == 12


def test_prepare_says_what_is_wrong_with_the_place(cli, tmp_path):
    root = write_cub(tmp_path / "cub")
    words = ["dataset=cub", f"dataset.root={root}", f"dataset.resize={RESIZE}", "shards=true"]
    assert "s3://bucket/x: write to a folder" in cli("prepare", *words, "dataset.shards=s3://bucket/x").line
    (tmp_path / "there").mkdir()
    assert "exists, with other content" in cli("prepare", *words, f"dataset.shards={tmp_path / 'there'}").line
    replace_line(root / "train_test_split.txt", "1 ", "1 1")
    outcome = cli("train", *TINY, *words[1:3], f"dataset.shards={tmp_path / 'there'}")
    assert "has no complete shards" in outcome.line


# --- fetched from elsewhere -------------------------------------------------------------------------------------------


class Storage(SimpleHTTPRequestHandler):
    """A folder that is served by HTTP. Notes the files that are asked for."""

    asked: ClassVar[list[str]]

    def do_GET(self):
        self.asked.append(self.path.rsplit("/", 1)[-1])
        super().do_GET()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def storage(tmp_path, folder, cache):
    """Serve a copy of the folder: its address, the copy, and the files asked for."""
    place = tmp_path / "place"
    shutil.copytree(folder, place)
    handler = type("Handler", (Storage,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/place", place, handler.asked
    server.shutdown()


def test_fetched_shards_are_the_same_and_each_chunk_is_fetched_once(records, folder, storage):
    address, _, asked = storage
    local, remote = Shards(str(folder), records, RESIZE), Shards(address, records, RESIZE)
    assert remote.is_remote
    for row in np.random.default_rng(0).permutation(len(records)).tolist() * 2:
        assert np.array_equal(remote(row), local(row))
    assert sorted(name for name in asked if name.endswith(".bin")) == sorted(chunk.name for chunk in remote.chunks)
    assert not [path for path in remote.folder.path.iterdir() if path.suffix not in (".bin", ".lock")]


def test_missing_and_incomplete_files_are_named(records, storage):
    address, place, _ = storage
    with pytest.raises(UserError, match=r"nowhere/shards\.index\.json cannot be fetched"):
        Shards(address.replace("place", "nowhere"), records, RESIZE)
    os.truncate(place / "chunk-0-0.bin", 100)
    with pytest.raises(UserError, match=r"chunk-0-0.bin has 100 bytes of"):
        Shards(address, records, RESIZE)(0)
    (place / "chunk-0-0.bin").unlink()
    remote = Shards(address, records, RESIZE)
    with pytest.raises(UserError, match=r"chunk-0-0.bin cannot be fetched"):
        remote(0)
    assert not list(remote.folder.path.glob("*.bin"))


def test_an_interrupted_fetch_leaves_no_chunk(records, storage, monkeypatch):
    class Cut(type(fsspec.filesystem("http"))):
        def get_file(self, remote, local, **options):
            Path(local).write_bytes(b"half")
            raise KeyboardInterrupt

    address, _, _ = storage
    remote = Shards(address, records, RESIZE)
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda address: (Cut(), address))
    with pytest.raises(KeyboardInterrupt):
        remote(0)
    assert [path.suffix for path in remote.folder.path.iterdir()] in ([], [".lock"])


def test_a_protocol_without_its_package(records):
    for address, words in (("s3://bucket/x", "s3fs"), ("nothing://x", "nothing")):
        with pytest.raises(UserError, match=f"^dataset.shards={address}: .*{words}"):
            Shards(address, records, RESIZE)


def test_other_shards_at_the_same_address_are_told_apart(records, folder, storage):
    address, place, _ = storage
    Shards(address, records, RESIZE)(0)
    shutil.rmtree(place)
    backwards = records.take(np.arange(len(records))[::-1])
    write_shards(backwards, RESIZE, place, 1, lambda done: None)
    got = Shards(address, backwards, RESIZE)(0)
    assert np.array_equal(got, Shards(str(folder), records, RESIZE)(len(records) - 1))


def test_shards_at_an_address_are_read_by_several_workers(records, folder, storage):
    address, _, asked = storage
    remote = Shards(address, records, RESIZE)
    dataset = ImageDataset(
        records, train_transform(RESIZE, 48), "error", False, source=ShardedImages(remote, np.arange(len(records)))
    )
    places = remote.chunk_of(np.arange(len(records)))
    sampler = SeededSampler(ProcessSampler(len(records), 0, 1, shuffle_seed=0, places=places), 0)
    batches = list(DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=2, collate_fn=collate))
    assert sorted(torch.cat([batch["index"] for batch in batches]).tolist()) == list(range(len(records)))
    local = Shards(str(folder), records, RESIZE)
    for row in range(len(records)):
        assert np.array_equal(remote(row), local(row))
    chunks = [name for name in asked if name.endswith(".bin")]
    assert len(chunks) == len(set(chunks)) == len(remote.chunks), "each once, whichever worker asked first"


@pytest.mark.parametrize("places", [None, np.repeat(np.arange(100), 7)])
def test_an_epochs_order_holds_everything_once_for_any_number_of_processes(places):
    size = 700

    def dealt(rank, processes, epoch, seen=0):
        sampler = ProcessSampler(size, rank, processes, shuffle_seed=3, places=places)
        sampler.fast_forward(epoch, seen)
        return list(sampler)

    whole = dealt(0, 1, 2)
    assert sorted(whole) == list(range(size))
    assert whole != dealt(0, 1, 1)
    shares = [dealt(rank, 2, 2) for rank in (0, 1)]
    assert [x for pair in zip(*shares, strict=True) for x in pair] == whole
    assert dealt(0, 1, 2, seen=123) == whole[123:]
    assert dealt(1, 2, 2, seen=100) == shares[1][100:]


def test_fetched_photos_come_from_few_chunks_at_a_time():
    places = np.repeat(np.arange(400), 50)
    sampler = ProcessSampler(len(places), 0, 1, shuffle_seed=3, places=places)
    order = places[np.array(list(sampler))]
    first, last = {}, {}
    for at, chunk in enumerate(order.tolist()):
        first.setdefault(chunk, at)
        last[chunk] = at
    open_at_once = max(sum(first[c] <= at <= last[c] for c in first) for at in range(0, len(order), 500))
    assert open_at_once <= SHUFFLE_BUFFER_CHUNKS + 2
    window = order[5000:5500]
    assert len(set(window.tolist())) > 20  # and mixed well


def test_the_manifest_says_what_is_in_the_folder(records, folder):
    manifest = json.loads((folder / "shards.index.json").read_text())
    assert manifest == {"format": 1, "photos": 12, "resize": RESIZE, "records": hash_records(records)}
