"""JSON that asks for too much."""

import pytest

from spg_lightning import UserError
from spg_lightning.data import json_files


def test_the_size_is_bounded(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text("[1, 2]")
    assert json_files.read_json(path, "numbers") == [1, 2]
    monkeypatch.setattr(json_files, "LARGEST_TEXT", 5)
    with pytest.raises(UserError, match="more than 5 bytes"):
        json_files.read_json(path, "numbers")


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 100_000, '{"a": NaN'])
def test_text_without_an_end(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"too deeply|not JSON"):
        json_files.read_json(tmp_path / "a.json", "numbers")
