"""The journal of a prediction: torn lines, changed images, other settings."""

import json

import pytest

from spg_lightning.errors import UserError
from spg_lightning.predicting.journal import Journal
from spg_lightning.predicting.rows import ImageRow, Prediction

SETTINGS = {"threshold": 0.2, "maps": ("a", "b")}


def row(image, error=""):
    found = Prediction(
        image, 60, 40, 1, "bird", 0, 0.75, 1, (1.25, 2.0, 30.5, 39.0), mask={"size": [40, 60], "counts": "a"}
    )
    return ImageRow(image, () if error else (found,), error)


def write(folder, *images, settings=SETTINGS, **options):
    journal = Journal(folder, settings, **options)
    with journal:
        for image in images:
            journal.append(row(image), image.upper(), (3, 5))
    return journal


def test_rows_come_back_in_any_order_and_survive_a_new_process(tmp_path):
    write(tmp_path, "b", "a", "c")
    again = Journal(tmp_path, SETTINGS)
    assert [name for name, _ in again.rows(["a", "b", "missing", "c"])] == ["A", "B", "C"]
    assert [found for _, found in again.rows(["c", "a"])] == [row("c"), row("a")]


def test_every_torn_line_is_cut_off_and_nothing_else(tmp_path):
    path = write(tmp_path, "a", "b").path
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in range(len(lines[0]), len(whole)):
        path.write_bytes(whole[:cut])
        journal = write(tmp_path, "c")
        finished = sum(cut >= len(b"".join(lines[: k + 2])) for k in range(2))
        assert list(journal.names) == [*["a", "b"][:finished], "c"]
        assert len(Journal(tmp_path, SETTINGS).names) == finished + 1


def test_an_image_that_changed_or_failed_is_not_done(tmp_path):
    journal = write(tmp_path, "a")
    with journal:
        journal.append(row("broken", "it is broken"), "", None)
    journal = Journal(tmp_path, SETTINGS)
    assert journal.is_done("a", (3, 5))
    assert not journal.is_done("a", (3, 6))
    assert not journal.is_done("a", None)
    assert not journal.is_done("broken", None)
    with journal:
        journal.append(row("a"), "A", (3, 6))
    assert len(list(Journal(tmp_path, SETTINGS).rows(["a"]))) == 1


def test_other_settings_are_refused_by_name_unless_overwritten(tmp_path):
    write(tmp_path, "a")
    with pytest.raises(UserError, match=r"threshold=0.2 there, 0.3 here.*overwrite=true"):
        Journal(tmp_path, {**SETTINGS, "threshold": 0.3})
    assert list(Journal(tmp_path, SETTINGS).names) == ["a"]
    assert list(write(tmp_path, "b", settings={"threshold": 0.3}, overwrite=True).names) == ["b"]


def test_a_journal_without_rows_keeps_nobody_out(tmp_path):
    write(tmp_path, settings={"masks": "gif"})
    assert list(write(tmp_path, "a").names) == ["a"]


def test_another_program_s_file_is_left_alone(tmp_path):
    path = tmp_path / "predictions.jsonl"
    path.write_text('{"image": "mine"}\n')
    with pytest.raises(UserError, match=r"predictions\.jsonl was not written by"):
        Journal(tmp_path, SETTINGS)
    assert path.read_text() == '{"image": "mine"}\n'


def test_names_that_are_no_unicode(tmp_path):
    name = b'caf\xe9\n"<script>.jpg'.decode(errors="surrogateescape")
    write(tmp_path, name)
    assert [found.image for _, found in Journal(tmp_path, SETTINGS).rows([name])] == [name]
    assert all(json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines())
