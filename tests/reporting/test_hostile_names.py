"""Names of classes, photos, runs and variants come from files of others: no page runs them as code."""

import numpy as np
import pytest

from spg_lightning import compose, predict, report, train
from spg_lightning.config.sweep import hydra_quote
from tests.conftest import TINY
from tests.trees import write_photo

HOSTILE = (
    '"><img src=x onerror=window.ran=1>',
    "'><svg onload=window.ran=1>",
    "<script>window.ran=1<",
    "{{ 7 * 7 }}{% raise %}",
)
CLICKED = "summary, a, header button, details button, .picture"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The three pages, written by the commands themselves from a data set, a run and a variant with such names."""
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    for label, name in enumerate(HOSTILE[:3]):
        for part in ("train", "test"):
            for k, photo in enumerate(HOSTILE):
                write_photo(folder / "data" / part / name / f"{photo}{k}.jpg", label, rng)
    run = folder / "runs" / HOSTILE[0]
    small = [word for word in TINY if word != "dataset=cub"]
    words = ["dataset=folder", *small, f"dataset.root={folder / 'data'}", "trainer.max_epochs=1", "logger=none"]
    train(compose("train", [*words, f"output_dir={hydra_quote(run)}", f"variant=[{hydra_quote(HOSTILE[1])}]"]))
    given = [f"checkpoint={hydra_quote(run / 'checkpoints/last.ckpt')}", f"images={folder / 'data/test'}", "page=true"]
    predict(compose("predict", [*given, "top_k=3", "threshold=0.2", f"output_dir={folder / 'predicted'}"]))
    report(compose("report", [f"runs={folder / 'runs'}", "metric=cls_top1_error", f"output_dir={folder / 'report'}"]))
    return {
        "run": run / "report.html",
        "comparison": folder / "report" / "report.html",
        "predictions": folder / "predicted" / "page" / "index.html",
    }


@pytest.mark.parametrize("page", ["run", "comparison", "predictions"])
def test_no_page_runs_a_name(pages, browser, page):
    context = browser.new_context()
    tab, requests, errors = context.new_page(), [], []
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("dialog", lambda dialog: errors.append(dialog.message) or dialog.accept())
    tab.goto(pages[page].as_uri())
    tab.wait_for_timeout(500)
    here, shown = tab.url, tab.locator("body").inner_text()
    for k in range(tab.locator(CLICKED).count()):
        tab.evaluate("([what, k]) => document.querySelectorAll(what)[k]?.click()", [CLICKED, k])
        tab.wait_for_timeout(30)
        if tab.url != here:  # the link to a run's own page
            tab.goto(here)
    assert "onerror=window.ran=1" in shown.replace("\n", "")
    assert tab.evaluate("[window.ran === undefined, document.querySelectorAll('img[src=x]').length]") == [True, 0]
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:")) or url.endswith("/x")] == []
    assert [error for error in errors if "Accept" not in error] == []
    context.close()
