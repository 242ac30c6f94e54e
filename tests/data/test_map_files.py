"""Score maps that ask for more than they hold."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from spg_lightning import UserError
from spg_lightning.data import map_files
from spg_lightning.data.map_files import read_map


def test_a_shape_that_the_file_is_too_small_for_is_refused(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)})
        file.write(b"\0" * 100)
    with pytest.raises(UserError, match=r"a\.npy is not a readable \.npy array"):
        read_map(tmp_path / "a.npy")


def test_the_number_of_values_is_bounded(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.zeros((5, 5), np.float32))
    assert read_map(tmp_path / "a.npy").shape == (5, 5)
    monkeypatch.setattr(map_files, "MOST_MAP_VALUES", 24)
    with pytest.raises(UserError, match=r"a\.npy has the shape \(5, 5\); a score map has at most 24 values"):
        read_map(tmp_path / "a.npy")


def test_threads_do_not_parse_headers_at_once(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.zeros((5, 5), np.float32))
    parsing, most, load = [], [], np.load

    def watched(*arguments, **options):
        parsing.append(1)
        most.append(len(parsing))
        time.sleep(0.01)
        parsing.pop()
        return load(*arguments, **options)

    monkeypatch.setattr(np, "load", watched)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(read_map, [tmp_path / "a.npy"] * 8))) == len(most) == 8
    assert max(most) == 1
