"""Nothing grows with the number of epochs, and two processes share a cache."""

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
import pytorch_lightning as pl

from tests.callbacks.helpers import SMALL, run
from tests.conftest import ROOT
from tests.evaluation.test_cached_maps import OWN
from tests.trees import write_cub

EPOCHS = 50


class Usage(pl.Callback):
    """Notes what the process holds after each epoch."""

    seen: list[tuple[float, int, int, int]]

    def __init__(self):
        Usage.seen = []

    def on_train_epoch_end(self, trainer, module):
        gc.collect()
        own, shared = psutil.Process(), Path("/dev/shm")
        segments = len([*shared.iterdir()]) if shared.is_dir() else 0
        Usage.seen.append((own.memory_info().rss / 2**20, own.num_fds(), threading.active_count(), segments))


@pytest.mark.slow
def test_memory_files_threads_and_shared_memory_are_flat_over_fifty_epochs(tmp_path):
    usage = "+callbacks.usage._target_=tests.reliability.test_long_runs.Usage"
    run(write_cub(tmp_path / "cub"), tmp_path / "run", f"trainer.max_epochs={EPOCHS}", "data.num_workers=1", usage)
    assert len(Usage.seen) == EPOCHS
    memory, *others = zip(*Usage.seen, strict=True)
    assert max(memory[-5:]) - max(memory[8:13]) < 20, memory  # MB; the first epochs fill caches
    for counts in others:
        assert max(counts[-5:]) <= max(counts[8:13]), counts


@pytest.mark.slow
def test_two_trainings_fill_one_cache_at_once(tmp_path):
    """Both compute the training-free maps of the same images, and each finds every map whole."""
    cub = write_cub(tmp_path / "cub", per_class=12)
    words = [*SMALL, *OWN, f"dataset.root={cub}", "trainer.max_epochs=1"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "SPG_LIGHTNING_CACHE": str(tmp_path / "cache")}
    folders = [tmp_path / name for name in ("one", "two")]
    trained = [
        subprocess.Popen(
            [sys.executable, "-m", "spg_lightning.train", *words, f"output_dir={folder}"],
            cwd=ROOT,
            env=env,
            stderr=subprocess.PIPE,
        )
        for folder in folders
    ]
    assert [(process.communicate()[1], process.returncode)[1] for process in trained] == [0, 0]
    assert (folders[0] / "metrics.json").read_text() == (folders[1] / "metrics.json").read_text()
    assert list((tmp_path / "cache").rglob("*.tmp")) == []


def test_two_processes_write_one_index_at_once(tmp_path):
    from spg_lightning.data import read_cub_and_val
    from spg_lightning.data.index.storage import load_index, save_index

    splits = read_cub_and_val(str(write_cub(tmp_path / "cub")), None, None)
    writers = []
    for _ in range(2):
        if pid := os.fork():
            writers.append(pid)
            continue
        code = 1
        try:
            for _ in range(40):
                save_index(tmp_path / "index", splits)
            code = 0
        finally:
            os._exit(code)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in writers] == [0, 0]
    found = load_index(tmp_path / "index")
    assert found is not None
    assert list(found.train.images) == list(splits.train.images)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".index")] == []
