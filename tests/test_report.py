"""The command `report`: table, data and page of a folder of runs; a mistake of the user in one line."""

import csv
import os
import re
from html.parser import HTMLParser

import pytest
from omegaconf import OmegaConf

from spg_lightning import UserError, compose, report
from tests.comparison.fabricate import config_of, write_run
from tests.loggers.wandb_files import Run as WandbRun


@pytest.fixture
def runs(tmp_path):
    """Two variants, two seeds."""
    root = tmp_path / "ablation"
    for seed, error in enumerate((30.0, 33.0)):
        write_run(root / f"spg-{seed}", config_of(), seed, error, pxap=51.0)
        write_run(
            root / "deeper" / f"plain-{seed}", config_of("method=spg_plain"), seed, error + 4 + seed, chosen="attention"
        )
    return root


class Links(HTMLParser):
    """Collects what a page refers to, and its tags."""

    def __init__(self, text):
        super().__init__()
        self.to, self.tags, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.to += [value for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]

    def handle_data(self, data):
        self.text += data


def test_files(cli, runs):
    done = cli("report", f"runs={runs}")
    assert done.code == 0, done.err
    assert "SPG-plain" in done.out
    page = (runs / "report.html").read_text()
    found = Links(page)
    assert not [link for link in found.to if not link.startswith(("data:", "#", "spg-", "deeper/"))]
    assert "script" not in found.tags
    assert not re.search(r"url\(\s*['\"]?(http|//)|@import", page)
    assert found.tags.count("svg") == 3  # differences, accuracy, training
    assert found.tags.count("img") == 2 * 2  # images, variants
    for words in (
        "ablation",
        "2 variants, 4 runs, seeds 0, 1",
        "Published figures",
        "other data and network",
    ):
        assert words in found.text
    assert "test is weak" in found.text
    assert "+14.5 ± 0.5" in found.text  # the attention's are ten more
    table = (runs / "table.md").read_text()
    assert "| SPG | b1 | 2 | **31.5 ± 2.1** | **30.5 ± 2.1** |" in table
    assert (
        "| SPG-plain `method=spg_plain` | attention | 2 | 46.0 ± 2.8 | 45.0 ± 2.8 | 48.0 ± 2.8 | 47.0 ± 2.8 | 44.0 ± 2.8 | - |"
        in table
    )
    assert "| centred box | floor | 2 | 45.5 ± 0.7 |" in table
    assert "| SPG | SPG paper, table 2 |" in table
    latex = (runs / "table.tex").read_text()
    assert (
        r"SPG-plain \texttt{method=spg\_plain} & attention & 2 & 46.0 $\pm$ 2.8 & 45.0 $\pm$ 2.8 & 48.0 $\pm$ 2.8"
        in latex
    )


def test_every_number_is_a_row(cli, runs):
    assert cli("report", f"runs={runs}").code == 0
    rows = list(csv.DictReader((runs / "results.csv").open()))
    ours = [r for r in rows if r["run"] == "deeper/plain-1" and r["split"] == "test"]
    by_key = {(r["score_map"], r["metric"]): r for r in ours}
    assert len(by_key) == len(ours) == 2 * 8 + 3
    row = by_key["attention", "gt_known_error"]
    assert (row["value"], row["chosen"], row["variant"], row["seed"]) == ("48.0", "1", "SPG-plain", "1")
    assert (row["experiment"], row["commit"], row["device"]) == ("ablation", "0123456789abcdef", "cpu, 2 threads")
    assert row["versions"] == "torch 2.11.0; numpy 2.0.0"
    assert by_key["b1", "gt_known_error"]["chosen"] == "0"
    assert by_key["", "floor_whole_gt_known_error"]["value"] == "80.0"


def test_a_run_and_map_is_a_row_of_the_wide_table(cli, runs):
    assert cli("report", f"runs={runs}").code == 0
    numbers = list(csv.DictReader((runs / "results.csv").open()))
    rows = list(csv.DictReader((runs / "results_wide.csv").open()))
    assert len(rows) == len({(r["run"], r["score_map"]) for r in numbers})
    by_key = {(row["run"], row["score_map"]): row for row in rows}
    for number in numbers:
        row = by_key[number["run"], number["score_map"]]
        assert row[f"{number['split']}/{number['metric']}"] == number["value"]
        assert (row["chosen"], row["variant"], row["seed"]) == (number["chosen"], number["variant"], number["seed"])
    assert by_key["deeper/plain-1", "attention"]["test/floor_whole_gt_known_error"] == ""


def test_a_report_of_a_reported_folder_is_the_same(cli, runs):
    written = [(cli("report", f"runs={runs}").code, (runs / "results.csv").read_text()) for _ in range(2)]
    assert written[0] == written[1]


def test_options(cli, runs, tmp_path):
    done = cli(
        "report", f"runs={runs}", f"output_dir={tmp_path / 'out'}", "reference=SPG-plain", "per_map=true", "photos=1",
        "score_map=attention", "metric=pxap",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert not (runs / "report.html").exists()
    found = Links((tmp_path / "out" / "report.html").read_text())
    assert found.tags.count("img") == 2
    assert "Against SPG-plain" in found.text
    assert "../ablation/spg-0/report.html" not in found.to  # there is none to link
    assert "| SPG | b1 | 2 | 31.5 ± 2.1 |" in (tmp_path / "out" / "table.md").read_text()


def test_a_sweep_over_two_numbers_is_a_heat_map(tmp_path):
    for high in (0.6, 0.7, 0.8):
        for low in (0.05, 0.1):
            config = config_of(f"thresholds.b2.high={high}", f"thresholds.b2.low={low}")
            write_run(tmp_path / f"{high}-{low}", config, 0, 30 + 10 * high - low)
    result = report(compose("report", [f"runs={tmp_path}"]))
    page = (tmp_path / "report.html").read_text()
    assert "the frame marks the best cell" in page
    assert result.reference.label == "SPG b2.high=0.7 b2.low=0.1"
    assert len(result.variants) == 6
    assert "one common seed: no test" in page
    assert "±" not in (tmp_path / "table.md").read_text().split("Against")[0]


def test_a_large_sweep_shows_the_best_on_val(tmp_path):
    for k in range(12):
        write_run(tmp_path / str(k), config_of(f"thresholds.b2.high={0.4 + 0.05 * k}"), 0, 60.0 - k)
    report(compose("report", [f"runs={tmp_path}", "photos=1"]))
    page = (tmp_path / "report.html").read_text()
    assert "the reference and the 7 variants that are best on val, of 12" in page
    assert page.count("<img") == 8


def test_one_run_alone(tmp_path):
    write_run(tmp_path / "only", config_of(), 3, 30.0)
    result = report(compose("report", [f"runs={tmp_path}"]))
    assert result.differences == {}
    page = Links((tmp_path / "report.html").read_text()).text
    assert "1 variant, 1 run, seed 3" in page
    assert "Against" not in page


def test_names_are_escaped(tmp_path):
    root = tmp_path / "a <b>&amp; $x_1$"
    plain = config_of()
    weights = "<script>alert('$1')</script>"
    strange = plain | {"stem": plain["stem"] | {"weights": weights}, "variant": [f"stem.weights={weights}"]}
    write_run(root / "r<em>", plain, 0, 30.0, images=("<u>_$", "b"))
    write_run(root / 'q"', strange, 0, 31.0, images=("<u>_$", "b"))
    (root / "x<s>").mkdir()
    OmegaConf.save(plain, root / "x<s>" / "config.yaml")
    report(compose("report", [f"runs='{root}'"]))
    page = (root / "report.html").read_text()
    found = Links(page)
    assert not {"script", "em", "u", "s"} & set(found.tags)
    assert page.count("<script") == 0
    assert "<u>" not in page
    assert "a <b>&amp; $x_1$" in found.text
    assert "stem.weights=<script>alert('$1')</script>" in found.text


def test_unfinished_and_foreign_folders_are_not_fatal(cli, runs):
    for name, missing in (("cut", ["metrics.json"]), ("started", ["metrics.json", "provenance.json"])):
        folder = write_run(runs / name, config_of(), 9, 50.0)
        for file in missing:
            (folder / file).unlink()
    evaluated = write_run(runs / "evaluated", config_of(), 8, 50.0)
    OmegaConf.save(compose("evaluate", ["output_dir=x"]), evaluated / "config.yaml")
    no_config = write_run(runs / "maps", config_of(), 7, 50.0)
    (no_config / "config.yaml").unlink()
    write_run(runs / "spg-0" / "wandb" / "files", config_of(), 6, 50.0)
    done = cli("report", f"runs={runs}")
    assert done.code == 0, done.err
    page = Links((runs / "report.html").read_text()).text
    assert "2 variants, 4 runs" in page
    for words in (
        "cut: unfinished, metrics.json missing",
        "started: unfinished, metrics.json and provenance.json missing",
        "maps: no config.yaml",
    ):
        assert words in page
        assert words in done.out


def _pipe(path):
    path.unlink()
    os.mkfifo(path)


MISTAKES = {
    "folder missing": (lambda r: None, ["runs=nowhere"], ["runs=nowhere", "no such folder"]),
    "curves broken": (lambda r: (r / "spg-0" / "curves.csv").write_text("a,b\n1,2\n"), [], ["spg-0/curves.csv cannot"]),
    "curves in UTF-16": (
        lambda r: (r / "spg-0" / "curves.csv").write_bytes("a,b\n1,2\n".encode("utf-16")), [], ["spg-0/curves.csv cannot be read as a table"],
    ),
    "picture broken": (
        lambda r: (r / "spg-0" / "gallery" / "001.Wren_a.png").write_bytes(b"x"), [], ["001.Wren_a.png is not a readable"],
    ),
    "picture a pipe": (lambda r: _pipe(r / "spg-0" / "gallery" / "001.Wren_a.png"), [], ["001.Wren_a.png is a pipe"]),
    "unknown reference": (lambda r: None, ["reference=SPG-plane"], ["reference=SPG-plane", "Did you mean 'SPG-plain'?"]),
    "unknown metric": (lambda r: None, ["metric=gt_known_eror"], ["metric=gt_known_eror", "'gt_known_error'?"]),
    "a metric of 5000 letters": (lambda r: None, ["metric=" + "x" * 5000], [f"metric={'x' * 60}: no run has it"]),
    "map nobody has": (lambda r: None, ["score_map=c"], ["score_map=c", "attention, b1"]),
}  # fmt: skip


DAMAGES = {
    "metrics cut off": ("metrics.json", '{"test/gt_known_error": 3', "spg-0: metrics.json is not readable JSON"),
    "metrics no object": ("metrics.json", "[1]", "spg-0: metrics.json is not a JSON object"),
    "metrics no number": ("metrics.json", '{"test/x": "12"}', "spg-0: metrics.json: 'test/x' is '12', not a number"),
    "provenance broken": ("provenance.json", '{"seed"', "spg-0: provenance.json is not readable JSON"),
    "config broken": ("config.yaml", "a: [1", "spg-0: config.yaml is not readable YAML"),
    "config that grows": (
        "config.yaml",
        "a: &a [1]\nb: [*a, *a]\n",
        "spg-0: config.yaml is not readable YAML (aliases, which can grow",
    ),
    "versions of nonsense": ("provenance.json", '{"versions": []}', "spg-0: provenance.json: 'versions' is []"),
    "commit of nonsense": ("provenance.json", '{"commit": -1}', "spg-0: provenance.json: 'commit' is -1"),
    "half a character": ("provenance.json", '{"device": "\\ud800"}', "spg-0: provenance.json is not readable JSON"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_run_is_left_out_by_name_and_the_others_are_shown(cli, runs, name):
    file, text, line = DAMAGES[name]
    (runs / "spg-0" / file).write_text(text)
    done = cli("report", f"runs={runs}")
    assert done.code == 0, done.err
    assert line in done.out
    assert line in Links((runs / "report.html").read_text()).text


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(cli, runs, name):
    spoil, words, expected = MISTAKES[name]
    spoil(runs)
    outcome = cli("report", f"runs={runs}", *words)
    assert outcome.code == 1
    for part in expected:
        assert part in outcome.line
    assert not (runs / "report.html").exists()


def test_what_is_needed_is_said(cli, tmp_path):
    assert "runs=... is needed" in cli("report").line
    (tmp_path / "empty").mkdir()
    assert "holds no finished run: no folder with provenance.json" in cli("report", f"runs={tmp_path / 'empty'}").line
    folder = write_run(tmp_path / "one" / "cut", config_of(), 0, 30.0)
    (folder / "metrics.json").unlink()
    assert (
        "holds no finished run (cut: unfinished, metrics.json missing)"
        in cli("report", f"runs={tmp_path / 'one'}").line
    )


def test_a_reference_is_a_name(cli, runs, tmp_path):
    line = cli("report", f"runs={runs}", f"output_dir={tmp_path / 'out'}", "reference=0.5").line
    assert "reference=0.5: choose a variant of the table" in line


def test_a_runs_own_report_is_not_overwritten(cli, runs, tmp_path):
    outcome = cli("report", f"runs={runs / 'spg-0'}")
    assert "is a run's own folder" in outcome.line
    done = cli("report", f"runs={runs / 'spg-0'}", f"output_dir={tmp_path / 'out'}")
    assert done.code == 0, done.err


def test_page_and_table_in_the_group_of_the_study(runs, tmp_path, monkeypatch):
    for name, folder in (("HOME", "home"), ("WANDB_DATA_DIR", "data"), ("WANDB_CACHE_DIR", "cache")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("WANDB_SILENT", "true")
    out = tmp_path / "out"
    for _ in range(2):
        comparison = report(
            compose("report", [f"runs={runs}", f"output_dir={out}", "logger=wandb", "logger.offline=true"])
        )
    logged = [WandbRun(folder) for folder in sorted((out / "wandb").glob("offline-run-*"))]
    assert len({run.run.run_id for run in logged}) == 1, "a repeated report updates its run"
    assert (logged[1].run.run_group, logged[1].run.job_type) == ("ablation", "report")
    (page,) = logged[1].all("report")
    assert (logged[1].folder / "files" / page["path"]).read_text() == (out / "report.html").read_text()
    table = logged[1].table("report_table")
    assert table["columns"][:5] == ["variant", "kind", "score map", "n", "gt_known_error"]
    assert [row[0] for row in table["data"]] == [row.label for row in comparison.rows]
    assert [row[4] for row in table["data"] if row[1] == "reference"] == [31.5]
    with pytest.raises(UserError, match="logged to W&B alone"):
        report(compose("report", [f"runs={runs}", f"output_dir={out}", "logger=csv"]))
