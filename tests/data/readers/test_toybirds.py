"""The embedded data set: deterministic, safe against two writers, boxes tight around the masks."""

import hashlib
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spg_lightning.data import read_toybirds
from spg_lightning.data.readers.toybirds import draw_toybirds
from spg_lightning.data.readers.toybirds_drawing import SPECIES, draw_bird
from spg_lightning.errors import UserError


def digest(folder: Path) -> str:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return hashlib.sha256(b"".join(str(f.relative_to(folder)).encode() + f.read_bytes() for f in files)).hexdigest()


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path):
    first, again = (draw_toybirds(tmp_path / name, 16, 16, seed=1) for name in "ab")
    assert digest(first) == digest(again)
    assert digest(first) != digest(draw_toybirds(tmp_path / "a", 16, 16, seed=2))


def test_processes_that_start_at_once_agree(tmp_path):
    draw = partial(draw_toybirds, tmp_path, 48, 16)
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        folders = set(pool.map(draw, [0, 0, 0, 0]))
    assert len(folders) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [folders.pop().name]  # nothing unfinished is left


def test_an_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("spg_lightning.data.readers.toybirds._write", stop)
    with pytest.raises(KeyboardInterrupt):
        draw_toybirds(tmp_path, 16, 16, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_boxes_are_tight_around_masks(tmp_path):
    records = read_toybirds(str(tmp_path), 16, 24, seed=0).test
    assert len(records) == 24
    for i in range(len(records)):
        mask = np.asarray(Image.open(records.root / records.masks[i][0])) > 127
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert records.boxes_of(i)[0].tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert 0.02 < mask.mean() < 0.6


def test_classes_differ_on_the_head_more_than_on_the_body():
    """The same bird in two species: the pixels that change most are few, the head's."""
    pictures = [draw_bird(species, np.random.default_rng(5), (128, 128)) for species in (SPECIES[3], SPECIES[5])]
    mask = pictures[0][1]
    change = np.abs(pictures[0][0].astype(int) - pictures[1][0]).sum(2)
    assert change[~mask].mean() < 0.05 * change[mask].mean()  # the background does not tell the class
    strong = change > 150
    assert 0.02 < strong[mask].mean() < 0.5
    assert 0 < change[mask & ~strong].mean() < 100  # the body tells it weakly


def test_too_few_photos_is_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match=r"dataset\.num_test=3"):
        read_toybirds(str(tmp_path), 16, 3, seed=0)
