"""What killed processes leave is deleted, what running ones write is not."""

import os
import platform

from spg_lightning.utils.temporary_folder import temporary_folder


def test_only_folders_of_dead_processes_are_deleted(tmp_path):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    dead, alive, foreign = (
        tmp_path / f".index-{machine}-{process}-abc"
        for machine, process in ((platform.node(), child), (platform.node(), os.getppid()), ("elsewhere", child))
    )
    for folder in (dead, alive, foreign):
        folder.mkdir()
    with temporary_folder(tmp_path, "index") as folder:
        assert {*tmp_path.iterdir()} == {folder, alive, foreign}
    assert {*tmp_path.iterdir()} == {alive, foreign}
