"""Weights & Biases without its network: training ends with the same numbers, soon, and everything is on disk."""

import json
import logging
import threading
from http.server import ThreadingHTTPServer
from time import perf_counter

import pytest
import wandb

from spg_lightning import UserError, compose, train
from spg_lightning.loggers.wandb import WandbResultsLogger, has_wandb_key
from tests.conftest import TINY
from tests.loggers.wandb_files import Run
from tests.loggers.wandb_server import PROJECT, VIEWER, JsonHandler

NOWHERE = "http://127.0.0.1:9"  # the port of `discard`, where nothing listens


@pytest.fixture
def online(monkeypatch, tmp_path):
    """A key that belongs to nobody, and wandb as in a new process; call with the server's address."""

    def at(address):
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        monkeypatch.delenv("WANDB_MODE", raising=False)
        for name, folder in (("HOME", "home"), ("WANDB_DATA_DIR", "data"), ("WANDB_CACHE_DIR", "cache")):
            monkeypatch.setenv(name, str(tmp_path / folder))
        monkeypatch.setenv("WANDB_SILENT", "true")
        wandb.teardown()

    yield at
    wandb.teardown()


class FakeServer(JsonHandler):
    """Says what makes wandb take it for a server, and goes away for good when the first data arrive."""

    asked: list[str]

    def do_POST(self):  # noqa: N802 (the standard library names it)
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(sent.get("operationName") or self.path)
        if self.path.endswith("file_stream"):
            threading.Thread(target=self.server.shutdown).start()
        bucket = {"id": "b", "name": sent.get("variables", {}).get("name"), "config": "{}", "project": PROJECT}
        self.reply({"data": {"viewer": VIEWER, "upsertBucket": {"bucket": bucket, "inserted": True}}})


def trained(tiny_run, folder, *overrides):
    """Train as `tiny_run` did, with another logger: the result, and how many seconds it took."""
    before = perf_counter()
    cfg = compose(
        "train",
        [
            *TINY,
            f"dataset.root={tiny_run[1]}",
            "trainer.max_epochs=1",
            f"output_dir={folder}",
            "logger=wandb",
            *overrides,
        ],
    )
    return train(cfg), perf_counter() - before


def missing(run, *more):
    """Return which of losses, metrics, photos and provenance a file lacks."""
    promised = ("train/loss_total", "test/gt_known_error", "test/gallery", "curve/b1/gt_known", *more)
    return [key for key in promised if not run.all(key)] + ["provenance"] * ("provenance" not in run.config)


def warnings(caplog):
    """Return all warnings but those that a network of two steps has collapsed."""
    collapse = ("spg_lightning.reporting.run_page", "spg_lightning.reporting.gallery")
    return [record for record in caplog.records if record.levelno >= logging.WARNING and record.name not in collapse]


@pytest.mark.parametrize("offline", ["null", "false"])
def test_an_unreachable_server(tiny_run, online, tmp_path, caplog, offline):
    online(NOWHERE)
    result, seconds = trained(tiny_run, tmp_path / "run", f"logger.offline={offline}", "logger.timeouts.start=3")
    assert seconds < 60  # a few more than without a logger; 60 leaves room for a busy machine
    assert result.metrics == tiny_run[0].metrics
    told = [record for record in warnings(caplog) if record.name != "wandb"]
    assert len(told) == 1
    assert "127.0.0.1:9 did not accept the run" in told[0].message
    assert "wandb sync" in told[0].message
    (folder,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    assert not missing(Run(folder), "test/photos", "test/curves_table")


def test_a_server_that_goes_away_in_the_middle(tiny_run, online, tmp_path, caplog):
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (FakeServer,), {"asked": []}))

    def serve():
        server.serve_forever()
        server.server_close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        online(f"http://127.0.0.1:{server.server_port}")
        result, seconds = trained(tiny_run, tmp_path / "run", "logger.timeouts.finish=3")
        # it began on line, and the end waited for the server no longer than it was told to
        assert "UpsertBucket" in server.RequestHandlerClass.asked
        assert seconds < 60
        (told,) = [record.message for record in warnings(caplog)]
        assert "its tables are in the run folder's .csv files" in told
        assert result.metrics == tiny_run[0].metrics
        (folder,) = (tmp_path / "run" / "wandb").glob("run-*")
        assert not missing(Run(folder))
    finally:
        server.shutdown()
        thread.join()


def test_a_server_that_refuses_the_run(tiny_run, online, tmp_path, caplog, monkeypatch):
    online(NOWHERE)
    begin, modes = wandb.init, []

    def refuse(mode, **more):
        modes.append(mode)
        if mode != "offline":
            raise wandb.errors.CommError("no more runs today\nmore of it")
        return begin(mode=mode, **more)

    monkeypatch.setattr(wandb, "init", refuse)
    trained(tiny_run, tmp_path / "run")
    assert modes == [None, "offline"]
    (told,) = [record.message for record in warnings(caplog)]
    assert "did not accept the run (no more runs today); the run is kept on disk" in told
    (folder,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    assert not missing(Run(folder))


def test_a_mistake_of_the_user_is_told(online, monkeypatch, tmp_path):
    online(NOWHERE)
    logger = WandbResultsLogger(
        offline=True, timeouts={"start": 1, "finish": 1}, name=None, group=None, tags=[],
        log_checkpoints="none", watch=None,
        project="a/b", save_dir=str(tmp_path),
    )  # fmt: skip
    with pytest.raises(UserError, match=r"^logger=wandb: .*project"):
        _ = logger.experiment


def test_where_a_key_is_looked_for(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not has_wandb_key()
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password " + "a" * 40)
    (tmp_path / ".netrc").chmod(0o600)
    assert has_wandb_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080")
    assert not has_wandb_key()
    monkeypatch.setenv("WANDB_API_KEY", "b" * 40)
    assert has_wandb_key()
