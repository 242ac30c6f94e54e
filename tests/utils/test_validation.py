"""Numbers out of their range: one line, before anything is read or built."""

import pytest
from omegaconf import OmegaConf

from spg_lightning import UserError, compose
from spg_lightning.utils.validation import RULES, check_ranges

NEEDED = {
    "train": [], "evaluate": [], "report": ["runs=x"], "prepare": [],
    "predict": ["checkpoint=x", "images=x"], "push": ["checkpoint=x", "to=x"], "convert": ["source=x", "layout=x", "output=x"],
}  # fmt: skip


def composed(command, *overrides):
    return compose(command, [*NEEDED[command], "output_dir=x", *overrides])


def test_the_defaults_are_in_range_and_every_rule_has_a_key():
    configs = [composed(command) for command in NEEDED]
    configs += [
        composed("train", f"schedule={name}", "optimizer=adamw", "+trainer.accumulate_grad_batches=2")
        for name in ("step", "constant")
    ]
    configs.append(composed("train", "guidance=seeded"))
    for cfg in configs:
        check_ranges(cfg)
    assert [key for key in RULES if all(OmegaConf.select(cfg, key, default=...) is ... for cfg in configs)] == []


@pytest.mark.parametrize(
    ("command", "wrong", "said"),
    [
        ("train", "seed=abc", "whole number from 0"),
        ("train", "seed=1.5", "whole number from 0"),
        ("train", "dataset.batch_size=0", "whole number, 1 or more"),
        ("train", "data.num_workers=-1", "0 or more, or auto"),
        ("train", "dataset.lr=-1", "a number, 0 or more"),
        ("train", "thresholds.b2.high=foo", "from 0 to 1"),
        ("train", "loss.weights.b1=-1", "a number, 0 or more"),
        ("train", "optimizer.weight_decay=-1", "a number, 0 or more"),
        ("train", "optimizer=adamw optimizer.lr=-1", "a number, 0 or more"),
        ("train", "optimizer=adamw optimizer.eps=-1", "a number, 0 or more"),
        ("train", "optimizer=adamw optimizer.betas=[0.9,1.0]", "from 0 to below 1"),
        ("train", "loss.weights.b1=.nan", "a number, 0 or more"),
        ("train", "loss.weights.b1=.inf", "a number, 0 or more"),
        ("train", "trainer.max_epochs=0", "1 or more, or -1, null"),
        ("train", "trainer.limit_train_batches=0", "a whole number, 1 or more, or a fraction"),
        ("train", "trainer.limit_train_batches=1.5", "a whole number, 1 or more, or a fraction"),
        ("train", "trainer.limit_val_batches=0", "a whole number, 1 or more, or a fraction"),
        ("train", "trainer.limit_test_batches=0", "a whole number, 1 or more, or a fraction"),
        ("train", "+trainer.accumulate_grad_batches=0", "1 or more"),
        ("train", "checkpoint_every_steps=often", "1 or more, or auto"),
        ("train", "schedule.warmup_fraction=3", "from 0 to 1"),
        ("predict", "batch_size=0", "1 or more"),
        ("evaluate", "eval_batch_size=0", "1 or more"),
        ("train", "checkpoint_every_steps=0", "1 or more, or auto"),
        ("predict", "batch_size=[1,abc]", "1 or more"),
        ("predict", "top_k=[]", "1 or more"),
        ("predict", "page_maps=0", "a list of names, .*, or auto, null"),
        ("evaluate", "maps=0.5", "choose a path; one that reads as a number begins with"),
        ("train", f"data.merge_classes={'x' * 256}", "choose a path; .*, and a name has at most 255 bytes, or null"),
        ("evaluate", f"pseudo_boxes='birds/{'ä' * 128}'", "choose auto, always, or a file of rows"),
        ("report", "runs=2020", "choose a path"),
        ("convert", "output=[]", "choose a path"),
        ("predict", "trust=0.5", "a list of names"),
        ("predict", "page=qwertz", "true or false"),
        ("report", "photos=-1", "0 or more"),
        ("prepare", "dataset.published=''", "whole numbers by name"),
        ("prepare", "dataset.published={train:x}", "whole numbers by name"),
        ("prepare", "quarantine=1", "true or false"),
        ("convert", "crop=[]", "1 or more"),
        ("train", "loss=3", "keys of its own"),
        ("train", "score_map.name=0", "a name, or a list of names"),
    ],
)
def test_out_of_range(command, wrong, said):
    with pytest.raises(UserError, match=said) as error:
        check_ranges(composed(command, *wrong.split()))
    assert wrong.split()[-1].removeprefix("+").split("=")[0] in str(error.value)


@pytest.mark.parametrize(
    "right",
    ["trainer.limit_train_batches=3", "trainer.limit_train_batches=0.5", "trainer.max_epochs=-1", "dataset.lr=0"],
)
def test_in_range(right):
    check_ranges(composed("train", right))
