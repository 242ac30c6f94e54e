"""Read a Weights & Biases run as it lies on disk."""

import json
from pathlib import Path
from time import sleep
from typing import Any

from spg_lightning.loggers.wandb_history import records


class Run:
    """What a run's folder holds.

    Attributes:
        run: the record it began with. config: of the run, as plain data. history: what each call of log gave.
        metrics: name -> how it is to be plotted. exit_code: None for a run that never ended. folder: with its files.
        artifacts: name within an artifact -> the file that is to be sent; the images of tables are only there.
        logged_artifacts: the artifacts, as they are to be sent. alerts: title and text of each.
    """

    def __init__(self, folder: Path) -> None:
        (path,) = folder.glob("run-*.wandb")
        for _ in range(300):  # wandb ends a run before the process that writes has emptied its queue
            if path.stat().st_size and any(r.WhichOneof("record_type") == "exit" for r in records(path)):
                break
            sleep(0.1)
        self.folder, self.history, self.config = folder, list[dict[str, Any]](), dict[str, Any]()
        self.metrics: dict[str, Any] = {}
        self.artifacts: dict[str, Path] = {}
        self.logged_artifacts: list[Any] = []
        self.alerts: list[tuple[str, str]] = []
        self.exit_code: int | None = None
        for record in records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.run = record.run
                self._update(record.run.config)
            elif kind == "config":
                self._update(record.config)
            elif kind == "history":
                self.history.append(_put(record.history.item, {}))
            elif kind == "metric":
                self.metrics[record.metric.name or record.metric.glob_name] = record.metric
            elif kind == "request" and record.request.HasField("log_artifact"):
                self._add(record.request.log_artifact.artifact)
            elif kind == "artifact":
                self._add(record.artifact)
            elif kind == "alert":
                self.alerts.append((record.alert.title, record.alert.text))
            elif kind == "exit":
                self.exit_code = record.exit.exit_code

    def _update(self, config: Any) -> None:
        _put(config.update, self.config)

    def _add(self, artifact: Any) -> None:
        self.logged_artifacts.append(artifact)
        self.artifacts |= {entry.path: Path(entry.local_path) for entry in artifact.manifest.contents}

    def all(self, key: str) -> list[Any]:
        """Return every value a key was logged with."""
        return [row[key] for row in self.history if key in row]

    def table(self, key: str) -> dict[str, Any]:
        """Return a logged table: `columns`, `data`."""
        (value,) = self.all(key)
        return json.loads((self.folder / "files" / value["path"]).read_text())


def _put(items: Any, into: dict[str, Any]) -> dict[str, Any]:
    """Put items into a dict and return it; parts of a nested value come with the path to them as key."""
    for item in items:
        *path, last = item.nested_key or [item.key]
        node = into
        for name in path:
            node = node.setdefault(name, {})
        value, there = json.loads(item.value_json), node.get(last)
        node[last] = {**there, **value} if isinstance(there, dict) and isinstance(value, dict) else value
    return into
