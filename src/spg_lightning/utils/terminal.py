"""Lines on standard error: wrapped between words on a terminal, and above a live bar."""

import io
import logging
import shutil
import sys
import textwrap
from typing import TextIO


def replace_unknown_characters() -> None:
    """Let standard output show `?` for a character that its encoding lacks, instead of an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def print_line(text: str) -> None:
    """Print to standard error."""
    print(wrap(text, sys.stderr), file=sys.stderr, flush=True)


def wrap(text: str, stream: TextIO) -> str:
    """Return a text as a stream shows it: with lines of a terminal's width, where it is one. Paths stay whole."""
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(
        line if len(line) <= width else textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )


class TerminalHandler(logging.StreamHandler):
    """Logs to what is standard error at that time: a live bar replaces it, and prints above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record. `logging` calls this."""
        # Rich before 15 says that its stand-in is no terminal; a bar on standard output also stands in for a standard error that is a file
        own = getattr(sys.stderr, "rich_proxied_file", sys.stderr)
        self.stream = sys.stderr if own.isatty() else own
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the wrapped message. `logging` calls this."""
        return wrap(super().format(record), self.stream)
