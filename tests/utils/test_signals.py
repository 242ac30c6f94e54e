"""Signals that stop a run."""

import os
import signal

import pytest

from spg_lightning.utils.signals import RunInterrupted, StopSignals


def test_deferred_signals_wait_for_the_run():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as signals:
        signals.deferred = True
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGINT)  # of a sweep that was also stopped
        with pytest.raises(RunInterrupted):  # the second Ctrl-C: now
            os.kill(os.getpid(), signal.SIGINT)
        signals.deferred = False
        with pytest.raises(RunInterrupted) as stop:
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
