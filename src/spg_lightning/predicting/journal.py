"""The journal of a prediction: a line an image as soon as it is finished, so that a killed run loses nothing.

The first line holds the settings: a run with others must not continue the file. The final files are written from it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from spg_lightning.errors import UserError
from spg_lightning.predicting.rows import ImageRow, Prediction
from spg_lightning.utils.atomic import replacing

JOURNAL = "predictions.jsonl"
FORMAT = 1
Stamp = tuple[int, int]  # size in bytes and time of the last change in nanoseconds


class Journal:
    """The lines of a prediction, on disk.

    Attributes:
        path: of the file.
        names: image -> file name of its results, of the images that are finished.

    Args:
        folder: the output folder.
        settings: what the rows depend on, as plain data.
        overwrite: begin anew where the folder holds rows of other settings.

    Raises:
        UserError: the folder holds rows of other settings, or a file that is no journal.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], overwrite: bool = False) -> None:
        self.path = folder / JOURNAL
        self.names: dict[str, str] = {}
        self._offsets: dict[str, int] = {}
        self._stamps: dict[str, Stamp] = {}
        self._file: IO[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        settings = json.loads(json.dumps(settings))  # tuples become lists, as in the file
        header = (json.dumps({"spg_lightning": FORMAT, "settings": settings}) + "\n").encode()
        stored = self._read() if self.path.exists() else None
        if stored is not None and stored != settings:
            if self._offsets and not overwrite:  # a command with a wrong value leaves no row
                raise UserError(
                    f"output_dir={folder} holds predictions of other settings ({_difference(stored, settings)}); choose "
                    "another folder, or replace them with overwrite=true"
                )
            stored = None
        if stored is None:
            self.names, self._offsets, self._stamps = {}, {}, {}
            with replacing(self.path) as file:
                file.write(header)

    def __enter__(self) -> "Journal":
        self._file = self.path.open("ab")
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def is_done(self, image: str, stamp: Stamp | None) -> bool:
        """Return whether an image is finished and has not changed since."""
        return image in self._offsets and self._stamps.get(image) == stamp

    def append(self, row: ImageRow, name: str, stamp: Stamp | None) -> None:
        """Write the line of one image. Its other files must be complete: the line says that it is finished."""
        assert self._file is not None, "open the journal with `with`"
        line: dict[str, Any] = {"image": row.image, "name": name, "stamp": stamp, "error": row.error}
        line["objects"] = [_without_image(found.as_row()) for found in row.objects]
        offset = self._file.tell()
        self._file.write((json.dumps(line) + "\n").encode())
        self._file.flush()
        if not row.error:  # a later run tries again
            self._remember(row.image, name, stamp, offset)

    def rows(self, images: Sequence[str]) -> Iterator[tuple[str, ImageRow]]:
        """Yield name and row of each finished image, in the order of `images`."""
        with self.path.open("rb") as file:
            for image in images:
                if image in self._offsets:
                    file.seek(self._offsets[image])
                    yield self.names[image], _row(json.loads(file.readline()))

    def _read(self) -> Any:
        """Take over the finished lines, cut off a torn last one, and return the settings."""
        settings, end = None, 0
        with self.path.open("rb") as file:
            for line in file:
                content = _parse(line)
                if content is None:
                    break
                if not end:
                    if content.get("spg_lightning") != FORMAT:
                        break
                    settings = content["settings"]
                elif not content["error"]:
                    stamp = content["stamp"]
                    self._remember(content["image"], content["name"], tuple(stamp) if stamp else None, end)
                end += len(line)
        if settings is None:
            raise UserError(f"{self.path} was not written by this version of predict; choose another output_dir")
        with self.path.open("r+b") as file:
            file.truncate(end)
        return settings

    def _remember(self, image: str, name: str, stamp: Stamp | None, offset: int) -> None:
        self._offsets[image], self.names[image] = offset, name
        if stamp is not None:
            self._stamps[image] = stamp


def stamp_of(path: Path) -> Stamp | None:
    """Return a file's size and time of change; None if it is gone."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


def _parse(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _without_image(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "image"}


def _row(content: Mapping[str, Any]) -> ImageRow:
    image = content["image"]
    objects = tuple(Prediction.from_row({**found, "image": image}) for found in content["objects"])
    return ImageRow(image, objects, content["error"])


def _difference(stored: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    key = next((key for key in {**stored, **settings} if stored.get(key) != settings.get(key)), "")
    return f"{key}={stored.get(key)} there, {settings.get(key)} here"
