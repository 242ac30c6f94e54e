"""The card of a shared checkpoint: what is known of it, and nothing else."""

import yaml

from spg_lightning.checkpoints.model_card import model_card
from tests.checkpoints.handmade import description

CONFIG = {
    "dataset": {"name": "birds", "about": {"use": "research only"}},
    "method": {"name": "spg"},
    "stem": {"name": "lite0", "weights": "imagenet", "network": {"_target_": "a.EfficientNetLite0Stem"}},
}
METRICS = {
    "test/num_images": 40.0, "test/gt_known_error": 12.345, "test/pxap": 67.891, "test/other": 1.0,
    "test/floor_whole_gt_known_error": 40.0, "test/floor_center_gt_known_error": 33.333,
}  # fmt: skip
PROVENANCE = {"seed": 0, "commit": "abc123", "versions": {"torch": "2.15", "wandb": None, "numpy": "2.5"}}


def card(metrics=METRICS, provenance=PROVENANCE, config=CONFIG, address="hf://owner/wrens", **chosen):
    text = model_card(description(config=config, localization=chosen), metrics, provenance, address)
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_front_matter_is_the_hubs():
    front, _ = card()
    assert front["library_name"] == "spg_lightning"
    assert front["pipeline_tag"] == "object-detection"
    assert front["license"] == "apache-2.0"
    assert front["datasets"] == ["birds"]
    assert front["metrics"] == ["gt_known_error", "pxap"]
    assert front["tags"] == ["weakly-supervised-object-localization", "class-activation-map", "spg", "lite0"]
    (model,) = front["model-index"]
    (result,) = model["results"]
    assert model["name"] == "wrens"
    assert result["task"] == {"type": "object-detection", "name": "Weakly supervised object localization"}
    assert result["dataset"] == {"type": "birds", "name": "birds", "split": "test"}
    assert result["metrics"] == [
        {"type": "gt_known_error", "value": 12.35, "name": "GT-known localization error"},
        {"type": "pxap", "value": 67.89, "name": "PxAP"},
    ]


def test_the_text():
    _, text = card(score_map="b1", threshold=0.25)
    assert (
        text
        == """
# wrens

A network that classifies 2 classes and localizes the object, trained from class labels alone: method `spg`, stem `lite0`, data set `birds`, 32 x 32 pixels.

## Results on 40 test images

In percent. The last rows are naive baselines on the same images.

| | |
| --- | --- |
| GT-known localization error | 12.35 |
| PxAP | 67.89 |
| GT-known localization error of the whole image as box | 40.00 |
| GT-known localization error of the best centred box of val | 33.33 |

## Use

```python
from spg_lightning import Localizer

localizer = Localizer.load("hf://owner/wrens")
(best,) = localizer("photo.jpg")
print(best.class_name, best.score, best.box)
```

    spg-predict checkpoint=hf://owner/wrens images=photos/

## Details

* score map: b1
* threshold: 0.250 of the map's maximum, chosen on val
* licence of the pretrained weights: Apache-2.0
* terms of the data set: research only
* seed: 0
* commit: abc123
* versions: torch 2.15, numpy 2.5
* classes: wren, tit
"""
    )


def test_what_is_not_known_is_left_out():
    front, text = card(metrics={}, provenance={}, config={}, address="shared/wrens/")
    assert front["datasets"] == ["unknown"]
    assert front["tags"][2:] == ["unknown"]
    assert "# wrens\n" in text
    assert "Results" not in text
    assert 'Localizer.load("shared/wrens/", score_map="attention", threshold=0.2)' in text
    _, details = text.split("## Details\n\n")
    assert (
        details
        == """* score map: none chosen
* threshold: none chosen
* licence of the pretrained weights: unknown
* classes: wren, tit
"""
    )
