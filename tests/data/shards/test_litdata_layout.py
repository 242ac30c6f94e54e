"""The contract with litdata's layout: fails in words when a new version writes another one."""

import pytest

from spg_lightning.data.shards import litdata_layout
from spg_lightning.data.shards.litdata_layout import INDEX, parse_index, read_item, write_items

pytest.importorskip("litdata", reason="the extra `shards` is not installed")
ITEMS = [bytes([k]) * (50 + 7 * k) for k in range(20)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(litdata_layout, "CHUNK_BYTES", 500)
    write_items(tmp_path, ITEMS)
    return tmp_path


def test_the_index_lists_the_chunks(folder):
    chunks = parse_index((folder / INDEX).read_bytes())
    assert len(chunks) > 2, "litdata no longer splits items at chunk_bytes"
    assert sum(chunk.items for chunk in chunks) == len(ITEMS), "litdata's index counts items in another way"
    for chunk in chunks:
        assert (folder / chunk.name).stat().st_size == chunk.size, "litdata's index has other sizes than its files"


def test_items_are_at_their_offsets(folder):
    found = []
    for chunk in parse_index((folder / INDEX).read_bytes()):
        with (folder / chunk.name).open("rb", buffering=0) as file:
            found += [read_item(file, item) for item in range(chunk.items)]
    assert found == ITEMS, "litdata writes another layout of chunks; see litdata_layout.read_item"


def test_litdata_reads_the_items(folder):
    from litdata import StreamingDataset

    assert [bytes(item) for item in StreamingDataset(str(folder))] == ITEMS, "litdata cannot read the folder itself"
