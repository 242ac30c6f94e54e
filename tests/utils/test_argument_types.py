"""Values of another type than a constructor's signature says: one line with key, value and type."""

import pytest
from omegaconf import OmegaConf

from spg_lightning import UserError, compose
from spg_lightning.utils.argument_types import check_types

CONFIGS = (
    ["guidance=few_shot", "views=[flip_scales]", "optimizer=adamw", "logger=wandb", "dataset=cub"],
    ["guidance=seeded", "method=acol", "augmentation=color", "dataset=ilsvrc", "logger=tensorboard", "schedule=step"],
    ["stem=timm", "callbacks=ema", "normalize=[ivr,pas,percentile]", "refine=[pamr,guided_filter]", "method=has"],
    ["trainer=ddp", "augmentation=resized_crop", "method=adl", "dataset=openimages", "logger=mlflow", "stem=vgg16"],
    ["method=cutmix", "dataset=folder", "stem=inception_v3", "schedule=constant"],
)


def node_of(*overrides):
    cfg = compose("train", [*overrides, "output_dir=x", "trainer.precision=32-true", "data.num_workers=1"])
    return OmegaConf.to_container(cfg, resolve=True)


@pytest.mark.parametrize("overrides", CONFIGS, ids=" ".join)
def test_the_configs_fit(overrides):
    check_types(node_of(*overrides), "")


@pytest.fixture(scope="module")
def config():
    return node_of("dataset=cub")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("data.batch_size", "many", "data.batch_size=many: choose a whole number"),
        ("data.batch_size", True, "a whole number"),
        ("data.batch_size", 2.5, "a whole number"),
        ("data.worker_timeout", float("nan"), "a finite number"),
        ("data.merge_classes", 3, "a word or null"),
        ("data.reader", 0.5, "a node with _target_"),
        ("data.augmentation", "flip", "a list or null"),
        ("loss.weights", 3, "a mapping"),
        ("loss.weights.cls", "heavy", "a mapping"),
        ("stem.network.mean", [1, "x"], "a list of finite numbers"),
        ("trainer.devices", [1.5], "a list of whole numbers or a word or a whole number"),
        ("callbacks.learning_rate.logging_interval", "day", "step, epoch or null"),
        ("callbacks.progress.leave", 1, "true or false"),
        ("guidance._partial_", None, "true or false"),
        ("stem.network._target_", 7, "a word"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(config, key, value, said):
    *parents, name = key.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    good, node[name] = node[name], value
    try:
        with pytest.raises(UserError, match=said.replace("_", r"\w")):
            check_types(config, "")
    finally:
        node[name] = good


def test_a_default_of_another_type_is_accepted():
    node = {"_target_": f"{__name__}.sloppy", "count": None}
    check_types(node, "node")
    with pytest.raises(UserError, match=r"node\.count=one: choose a whole number"):
        check_types(node | {"count": "one"}, "node")


def sloppy(count: int = None) -> None:  # noqa: RUF013
    """As many libraries annotate."""
