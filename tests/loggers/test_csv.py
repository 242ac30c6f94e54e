"""The CSV log of a resumed run."""

import csv

import pytest

from spg_lightning.loggers.csv import ResumableCSVLogger


def test_the_log_resumes(tmp_path):
    def logger():
        return ResumableCSVLogger(save_dir=str(tmp_path), name="", version="")

    first = logger()
    for step in range(5):
        first.log_metrics({"loss": step}, step=step)
    first.save()
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("7")  # killed in the middle of a row
    resumed = logger()
    resumed.fast_forward(3)
    resumed.log_metrics({"loss": 30, "more": 1}, step=3)
    resumed.save()
    with (tmp_path / "metrics.csv").open() as file:
        rows = [(row["step"], row["loss"], row["more"]) for row in csv.DictReader(file)]
    assert rows == [("0", "0", ""), ("1", "1", ""), ("2", "2", ""), ("3", "30", "1")]
    anew = logger()
    with pytest.warns(UserWarning, match="will be deleted"):
        anew.log_metrics({"loss": 9}, step=0)
    anew.save()
    assert (tmp_path / "metrics.csv").read_text().split() == ["loss,step", "9,0"]
