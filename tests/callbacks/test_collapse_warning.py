"""A run whose branches are trained on masks without background says so, in training and with its gallery."""

from tests.callbacks.helpers import run

ALL_FOREGROUND = ("thresholds.c.high=1e-4", "thresholds.c.low=0", "trainer.log_every_n_steps=1", "gallery_images=2")


def test_full_masks_are_told_once_they_last_and_in_the_gallery(cub, tmp_path, caplog):
    run(cub, tmp_path, *ALL_FOREGROUND)
    told = [(r.name.split(".")[-1], r.getMessage()) for r in caplog.records if "C are all foreground" in r.getMessage()]
    assert [place for place, _ in told] == ["collapse_warning", "gallery"]
    assert told[0][1].startswith("step 3: the masks that supervise C are all foreground")
