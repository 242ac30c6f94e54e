"""Faults of one file: of any file, of a text, of a table's rows, of JSON, of XML."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Fault = Callable[[Path], None]
PIECES = 6  # places in a file where its bytes are changed


def _missing(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _bytes(change: Callable[[bytes], bytes]) -> Fault:
    return lambda path: void(path.write_bytes(change(path.read_bytes())))


def _text(change: Callable[[str], str]) -> Fault:
    return _bytes(lambda data: change(data.decode(errors="replace")).encode(errors="surrogateescape"))


def void(*_: object) -> None:
    """Return nothing."""


def _flip(data: bytes, piece: int) -> bytes:
    """Change a byte in one of `PIECES` equal parts of a file."""
    if not data:
        return b"\xff"
    at = min(len(data) - 1, len(data) * (2 * piece + 1) // (2 * PIECES))
    return data[:at] + bytes([data[at] ^ 0x5A]) + data[at + 1 :]


ANY: dict[str, Fault] = {
    "missing": _missing,
    "empty": _bytes(lambda data: b""),
    "half": _bytes(lambda data: data[: len(data) // 2]),
    "one byte less": _bytes(lambda data: data[:-1]),
    "more at the end": _bytes(lambda data: data + b"\0more"),
    "zeros": _bytes(lambda data: bytes(len(data))),
    "another format": _bytes(lambda data: b"GIF89a\x01\0\x01\0" + data[:40]),
    "a folder": _folder,
    "a link to itself": _link_to_itself,
    "a dangling link": _dangling,
    "a pipe": _pipe,
    **{f"byte {piece} of {PIECES}": _bytes(lambda data, piece=piece: _flip(data, piece)) for piece in range(PIECES)},
}  # fmt: skip

TEXT: dict[str, Fault] = {
    "UTF-16": _bytes(lambda data: data.decode().encode("utf-16")),
    "Latin-1": _bytes(lambda data: data + "näh\n".encode("latin-1")),
    "byte order mark": _bytes(lambda data: b"\xef\xbb\xbf" + data),
    "Windows line ends": _bytes(lambda data: data.replace(b"\n", b"\r\n")),
    "empty lines": _bytes(lambda data: data.replace(b"\n", b"\n\n")),
    "a null byte": _bytes(lambda data: data[:10] + b"\0" + data[10:]),
    "a line of a megabyte": _bytes(lambda data: data + b"x" * (1 << 20) + b"\n"),
    "another line": _bytes(lambda data: data + b"something else\n"),
    "a quote": _bytes(lambda data: data + b'"open\n'),
}

HOSTILE = ("../../etc/passwd", "/etc/passwd", "", "a\x01b", "C:\\windows", "naïve ☃", "x" * 300, "-rf", "~root")
NUMBERS = (
    "nan",
    "inf",
    "-1",
    "1e308",
    "0",
    "99999999999999999999",
    "1.5",
    "",
    "x",
    "0x10",
    "\N{FULLWIDTH DIGIT ONE}",
    "1_0",
)


def rows(separator: str) -> dict[str, Fault]:
    """Return faults of the rows of a table; the last row is changed where one is."""

    def on_words(change: Callable[[list[str]], list[str]]) -> Fault:
        return _text(lambda text: _last_line(text, lambda line: separator.join(change(line.split(separator)))))

    def replaced(column: int, value: str) -> Fault:
        return on_words(
            lambda words: [*words[:column], value, *words[column + 1 :]] if column < len(words) else [value]
        )

    return {
        "a row twice": _text(lambda text: text + text.splitlines()[-1] + "\n"),
        "a row less": _text(lambda text: "\n".join(text.splitlines()[:-1]) + "\n"),
        "only a row": _text(lambda text: text.splitlines()[0] + "\n"),
        "a word less": on_words(lambda words: words[:-1]),
        "a word more": on_words(lambda words: [*words, "7"]),
        "another separator": _text(lambda text: text.replace(separator, ";")),
        "rows in reverse": _text(lambda text: "\n".join(reversed(text.splitlines())) + "\n"),
        **{f"the first word {value[:20]!r}": replaced(0, value) for value in HOSTILE},
        **{f"the second word {value[:20]!r}": replaced(1, value) for value in (*HOSTILE, *NUMBERS)},
        **{f"the last word {value[:20]!r}": replaced_last(on_words, value) for value in NUMBERS},
    }


def replaced_last(on_words: Callable[[Callable[[list[str]], list[str]]], Fault], value: str) -> Fault:
    """Return the fault that the last word of a row is another."""
    return on_words(lambda words: [*words[:-1], value])


def _last_line(text: str, change: Callable[[str], str]) -> str:
    lines = text.splitlines() or [""]
    return "\n".join([*lines[:-1], change(lines[-1])]) + "\n"


JSON_VALUES: dict[str, str] = {
    "null": "null", "true": "true", "a word": '"qwertz"', "minus one": "-1", "1e308": "1e308", "NaN": "NaN", "Infinity": "Infinity",
    "a list": "[]", "an object": "{}", "sixty digits": "9" * 60, "half a pair": '"\\ud800"', "a path": '"../../etc/passwd"',
}  # fmt: skip
JSON_TEXTS: dict[str, Fault] = {
    "nested deeply": _bytes(lambda data: b"[" * 100_000 + b"]" * 100_000),
    "five thousand digits": _bytes(lambda data: b"9" * 5000),
    "a list": _bytes(lambda data: b"[]"),
    "an object": _bytes(lambda data: b"{}"),
    "null": _bytes(lambda data: b"null"),
    "a number": _bytes(lambda data: b"1"),
}


def json_values(path: Path) -> dict[str, Fault]:
    """Return faults of each kind of value in a JSON file: other values in its place, the key gone, or twice."""
    faults: dict[str, Fault] = {}
    for place in places(json.loads(path.read_text())):
        shown = ".".join(map(str, place))
        for what, text in JSON_VALUES.items():
            faults[f"{shown} {what}"] = lambda path, place=place, text=text: _put(path, place, text)
        faults[f"{shown} gone"] = lambda path, place=place: _put(path, place, None)
    return faults


def places(content: Any, prefix: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the places of all values in JSON, in a list only those of its first entry."""
    if isinstance(content, dict):
        inside = [(name, value) for name, value in content.items()]
    else:
        inside = list(enumerate(content))[:1] if isinstance(content, list) else []
    return [place for name, value in inside for place in ((*prefix, name), *places(value, (*prefix, name)))]


def _put(path: Path, place: tuple[str | int, ...], text: str | None) -> None:
    content = json.loads(path.read_text())
    node = content
    for name in place[:-1]:
        node = node[name]
    if text is None:
        del node[place[-1]]
        path.write_text(json.dumps(content))
    else:
        node[place[-1]] = "PUT HERE"
        path.write_text(json.dumps(content).replace('"PUT HERE"', text))


ENTITIES = "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * 10}">' for k in range(1, 12))
XML_TEXTS: dict[str, Fault] = {
    "growing entities": _text(lambda text: f'<!DOCTYPE a [<!ENTITY a0 "aa">{ENTITIES}]>' + re.sub(r">[^<>]+<", ">&a11;<", text, count=1)),
    "a file as entity": _text(lambda text: '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + re.sub(r">[^<>]+<", ">&e;<", text, count=1)),
    "nested deeply": _text(lambda text: "<a>" * 100_000 + "</a>" * 100_000),
    "an unknown encoding": _text(lambda text: '<?xml version="1.0" encoding="utf-99"?>' + text.removeprefix("<?xml version='1.0' encoding='utf-8'?>")),
    "another root": _text(lambda text: "<other/>"),
}  # fmt: skip


def xml_values(path: Path) -> dict[str, Fault]:
    """Return faults of every tag and attribute of an XML file: other texts, or none."""
    text = path.read_text()
    faults: dict[str, Fault] = {}
    for tag in dict.fromkeys(re.findall(r"<(\w+)[^<>]*>[^<>]+</", text)):
        for value in (*HOSTILE[:3], *NUMBERS):
            pattern = rf"(<{tag}[^<>]*>)[^<>]+(</)"
            faults[f"{tag} {value[:20]!r}"] = _sub(pattern, lambda m, value=value: m[1] + value + m[2])
        faults[f"no {tag}"] = _sub(rf"<{tag}[^<>]*>[^<>]+</{tag}>", lambda m: "")
    for name in dict.fromkeys(re.findall(r"\s(\w+)=\"", text)):
        for value in (*HOSTILE[:3], *NUMBERS):
            faults[f"{name}= {value[:20]!r}"] = _sub(rf'(\s{name}=")[^"]*"', lambda m, value=value: f'{m[1]}{value}"')
        faults[f"no {name}="] = _sub(rf'\s{name}="[^"]*"', lambda m: "")
    return faults


def _sub(pattern: str, new: Callable[[re.Match], str]) -> Fault:
    return _text(lambda text: re.sub(pattern, new, text, count=1))
