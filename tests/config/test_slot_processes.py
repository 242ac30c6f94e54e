"""Slots are never overfull and never idle while jobs wait, and a dead job frees its own."""

import json
import os
import signal
import time
from functools import partial

import pytest

from spg_lightning.config.device_slots import slots_of
from spg_lightning.config.slot_processes import SlotJob, run_in_slots


class Notes:
    """A monitor that notes the outcomes."""

    def __init__(self):
        self.outcomes = {}

    def started(self, job, slot):
        pass

    def ended(self, job, outcome):
        self.outcomes[job.name] = outcome

    def stopping(self, count):
        self.stopped = count

    def refresh(self):
        pass


def run(folder, functions, slots, timeout=10.0):
    """Run functions in slots; return the results, the exit codes, and when each held which devices."""

    def job(index, function):
        def record():
            start = time.monotonic()
            result = function()
            held = {"devices": os.environ["CUDA_VISIBLE_DEVICES"].split(","), "start": start, "end": time.monotonic()}
            (folder / f"{index}.json").write_text(json.dumps(held))
            return result

        return SlotJob(str(index), folder, folder / f"{index}.log", record, str)

    notes = Notes()
    results = run_in_slots((job(*pair) for pair in enumerate(functions)), slots, notes, timeout)
    return results, notes.outcomes, [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]


def most_at_once(held, device):
    mine = [span for span in held if device in span["devices"]]
    return max(sum(a["start"] <= b["start"] < a["end"] for a in mine) for b in mine)


def test_equal_jobs_take_little_more_than_the_ideal_time(tmp_path):
    sleep_s = 4.0  # starting a process takes 0.02 s on idle cores, and much more beside other tests
    for attempt in range(3):  # a machine that is busy with other things may need another one
        start = time.monotonic()
        results, _, held = run(tmp_path, [lambda: time.sleep(sleep_s) or os.getpid()] * 8, slots_of("0123", 1, 1, [0]))
        took = time.monotonic() - start
        if took < 1.15 * 2 * sleep_s or attempt == 2:
            break
    assert took < 1.15 * 2 * sleep_s
    assert len(set(results)) == 8, "each job is a process"
    assert all(most_at_once(held, device) == 1 for device in "0123")


def test_jobs_share_devices_evenly_and_no_more_than_asked(tmp_path):
    _, _, held = run(tmp_path, [lambda: time.sleep(0.3)] * 8, slots_of("01", 1, 2, [0]))
    assert [most_at_once(held, device) for device in "01"] == [2, 2]
    first = sorted(held, key=lambda span: span["start"])[:2]
    assert {device for span in first for device in span["devices"]} == {"0", "1"}, "the less busy device comes first"


def test_a_job_of_two_devices_holds_both(tmp_path):
    _, _, held = run(tmp_path, [lambda: time.sleep(0.2)] * 4, slots_of("0123", 2, 1, [0]))
    assert {tuple(span["devices"]) for span in held} == {("0", "1"), ("2", "3")}
    assert all(most_at_once(held, device) == 1 for device in "0123")


def test_a_dead_job_frees_its_slot(tmp_path):
    def fail():
        print("on the way", flush=True)
        raise RuntimeError("out of luck")

    functions = [lambda: os.kill(os.getpid(), signal.SIGKILL), fail, lambda: "a", lambda: "b"]
    results, codes, _ = run(tmp_path, functions, slots_of("0", 1, 1, [0]))
    assert results == [None, None, "a", "b"]
    assert codes == {"0": "-9", "1": "1", "2": "0", "3": "0"}
    log = (tmp_path / "1.log").read_text()
    assert log.startswith("on the way\n")
    assert log.endswith("RuntimeError: out of luck\n")


def test_an_interruption_ends_all_jobs(tmp_path):
    def wait(interrupts=False):
        try:
            (tmp_path / f"{os.getpid()}.ready").touch()
            while interrupts and len(list(tmp_path.glob("*.ready"))) < 3:
                time.sleep(0.01)
            if interrupts:
                os.kill(os.getppid(), signal.SIGINT)
            time.sleep(60)
        except KeyboardInterrupt:
            (tmp_path / f"{os.getpid()}.saved").touch()
            raise

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, [wait, wait, partial(wait, interrupts=True), wait], slots_of("012", 1, 1, [0]))
    assert len(list(tmp_path.glob("*.saved"))) == 3
    assert not (tmp_path / "3.log").exists()


def test_a_job_that_ignores_the_interruption_is_killed(tmp_path):
    def ignore():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, [ignore], slots_of("0", 1, 1, [0]), timeout=0.5)
    assert time.monotonic() - start < 20
