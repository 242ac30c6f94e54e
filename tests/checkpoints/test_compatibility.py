"""Which changes of a config allow resuming."""

from spg_lightning.checkpoints.compatibility import (
    differences,
    exceeded_limit,
    lengths,
    rng_affecting_changes,
)


def test_allowed_and_forbidden_changes():
    saved = {"seed": 0, "trainer": {"max_epochs": 2, "devices": 1, "precision": "32-true"}, "output_dir": "a"}
    new = {"seed": 0, "trainer": {"max_epochs": 3, "devices": 2, "precision": "32-true"}, "output_dir": "b"}
    assert differences(saved, new) == []
    assert lengths(saved, new) == ["trainer.max_epochs=2 in the checkpoint, 3 here"]
    assert rng_affecting_changes(saved, new) == []  # the module's keys are newer than these configs
    new["module"] = {"compile": True, "channels_last": True}
    assert differences(saved, new) == []
    assert rng_affecting_changes(saved, new) == ["module.compile=False in the checkpoint, True here"]
    new["module"] = {"compile": False, "channels_last": False}
    assert rng_affecting_changes(saved, new) == ["module.channels_last=True in the checkpoint, False here"]
    compiled = {**saved, "module": {"compile": True, "channels_last": True}}
    assert rng_affecting_changes(compiled, new) == [
        "module.compile=True in the checkpoint, False here", "module.channels_last=True in the checkpoint, False here"
    ]  # fmt: skip
    new["trainer"]["precision"], new["seed"] = "16-mixed", 1
    assert differences(saved, new) == [
        "seed=0 in the checkpoint, 1 here",
        "trainer.precision=32-true in the checkpoint, 16-mixed here",
    ]


def test_parts_of_ignored_groups_that_change_a_step():
    def config(**callbacks):
        return {"callbacks": callbacks, "data": {"num_workers": 1}}

    assert differences(config(photos=None), config(photos={"every": 1})) == []
    assert differences(config(ema=None), config(ema={"decay": 0.9})) == [
        "callbacks.ema.decay=None in the checkpoint, 0.9 here"
    ]
    assert differences({"logger": 1, "loggers": 1}, {"logger": 2, "loggers": 2}) == [
        "loggers=1 in the checkpoint, 2 here"
    ]


def test_limits_are_exceeded_beyond_them():
    config = {"trainer": {"max_epochs": 2, "max_steps": 9}}
    assert exceeded_limit(config, epochs=2, steps=9) == ""
    assert exceeded_limit(config, epochs=3, steps=9) == "trainer.max_epochs=2"
    assert exceeded_limit(config, epochs=2, steps=10) == "trainer.max_steps=9"
    assert exceeded_limit({"trainer": {"max_epochs": None, "max_steps": -1}}, epochs=3, steps=10) == ""
    assert exceeded_limit({"trainer": {}}, epochs=3, steps=10) == ""
