"""Python collects no garbage where it would find none."""

import gc
import subprocess
import sys

import pytest

from spg_lightning.utils.garbage_collection import paused_collection


@pytest.mark.parametrize("enabled", [True, False])
def test_a_pause_ends_as_it_began(enabled):
    was_enabled = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with paused_collection():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()


CYCLE = """
from spg_lightning.utils.garbage_collection import skip_collection_at_exit

class Thing:
    def __del__(self):
        print("freed")

thing, cycle = Thing(), Thing()
cycle.itself = cycle
"""


def test_the_end_frees_without_a_search():
    for skips, expected in (("", "freed\nfreed\n"), ("skip_collection_at_exit()", "freed\n")):
        ended = subprocess.run([sys.executable, "-c", CYCLE + skips], capture_output=True, text=True, check=True)
        assert ended.stdout == expected
