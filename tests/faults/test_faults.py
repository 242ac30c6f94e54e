"""A hundred generated cases; `make faults` runs two thousand."""

import os
import subprocess
import sys

from tests.conftest import ROOT


def test_a_hundred_cases_hold(tmp_path):
    """In a process of its own: its forks must find no threads of other tests."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--cases", "100", "--seed", "1", "--quick"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    broken = [line for line in done.stdout.splitlines() if line.startswith("BROKEN")]
    assert done.returncode == 0, "\n".join(broken) or done.stderr
    assert broken == []
