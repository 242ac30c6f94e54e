"""Lines on a terminal of 80 columns."""

import io
import logging

import pytest
from rich.console import Console
from rich.live import Live

from spg_lightning.utils.terminal import TerminalHandler, print_line, replace_unknown_characters, wrap

LINE = "cub, efficientnet_lite0, spg: 9 train, 3 val, 12 test images of 3 classes -> /data/runs/first/of/many/seed-0"


class Stream(io.StringIO):
    """A file that says whether it is a terminal."""

    def __init__(self, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


@pytest.fixture
def log():
    """A logger with the handler alone."""
    log, handler = logging.getLogger("of this test"), TerminalHandler()
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    yield log
    log.removeHandler(handler)


def standard_error(monkeypatch, is_terminal):
    """Replace standard error, in a test itself: pytest does so before."""
    monkeypatch.setenv("COLUMNS", "80")
    stream = Stream(is_terminal)
    monkeypatch.setattr("sys.stderr", stream)
    return stream


def test_a_terminals_lines_end_between_words(monkeypatch, log):
    terminal = standard_error(monkeypatch, is_terminal=True)
    log.info(LINE)
    print_line(f"error: {LINE}")
    lines = terminal.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert " ".join(lines) == f"{LINE} error: {LINE}"


def test_what_the_encoding_lacks_is_a_question_mark(monkeypatch):
    file = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(file, encoding="ascii"))
    replace_unknown_characters()
    print("30.5 ± 0.7", flush=True)
    assert file.getvalue() == b"30.5 ? 0.7\n"


def test_a_path_is_not_cut():
    path = "/data/" + "long-name/" * 12
    assert path in wrap(f"run folder: {path}", Stream(is_terminal=True)).splitlines()


def test_a_file_keeps_lines_whole(monkeypatch, log):
    stream = standard_error(monkeypatch, is_terminal=False)
    log.info(LINE)
    assert stream.getvalue() == f"{LINE}\n"


def test_a_line_stands_above_a_live_bar(monkeypatch, log):
    terminal = standard_error(monkeypatch, is_terminal=True)
    with Live("the bar", console=Console(file=terminal, force_terminal=True, width=80), auto_refresh=False):
        log.info("step 4")
    last = terminal.getvalue().rsplit("step 4", 1)
    assert last[0].endswith("\x1b[2K"), "the bar's line was not cleared before"
    assert "the bar" in last[1]


def test_a_bar_does_not_take_the_lines_of_a_file(monkeypatch, log):
    stream, screen = standard_error(monkeypatch, is_terminal=False), Stream(is_terminal=True)
    with Live("the bar", console=Console(file=screen, force_terminal=True, width=80), auto_refresh=False):
        log.info("step 4")
    assert stream.getvalue() == "step 4\n"
    assert "step 4" not in screen.getvalue()
