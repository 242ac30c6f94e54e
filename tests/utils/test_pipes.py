"""A pipe in place of a file is refused by each reader, not waited for."""

import os

import pytest

from spg_lightning import UserError
from spg_lightning.data import masks
from spg_lightning.data.decode import read_image
from spg_lightning.data.json_files import read_json
from spg_lightning.data.readers.cvat_file import read_cvat
from spg_lightning.data.readers.voc import read_voc, voc_image_path
from spg_lightning.data.text_files import read_lines
from spg_lightning.data.validation.image_sizes import size_of
from spg_lightning.utils.pipes import refuse_pipe

READERS = (
    read_lines, lambda path: read_json(path, "rows"), read_image, lambda path: masks._read(path, None),
    lambda path: next(read_cvat(path, None)), lambda path: read_voc(path, None, None), voc_image_path,
)  # fmt: skip


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("read", READERS)
def test_a_reader_does_not_wait_for_a_writer(read, pipe):
    with pytest.raises(UserError, match="pipe is a pipe; put a file there"):
        read(pipe)


@pytest.mark.timeout(20)
def test_the_size_of_a_pipe_is_an_issue(pipe):
    assert "is a pipe" in size_of(pipe, True)


def test_files_folders_and_nothing_are_left_to_the_reader(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file", tmp_path / "missing"):
        refuse_pipe(path)
