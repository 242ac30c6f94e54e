"""Training-free maps against closed forms, and what travels in a checkpoint."""

import numpy as np
import pytest
import torch

from spg_lightning import UserError
from spg_lightning.score_maps import SCORE_MAPS, FeatureNorm, FeaturePCA, PretrainedCAM, score_map_context
from spg_lightning.score_maps.mean import Mean
from spg_lightning.stems import pretrained_classifier
from tests.score_maps.test_score_maps import network as build


@pytest.fixture(scope="module")
def classifier():
    return pretrained_classifier("tf_efficientnet_lite0", "imagenet", [0.5] * 3, [0.5] * 3)


@pytest.fixture(scope="module")
def rgb():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_features_are_at_stride_16_and_classify_like_the_whole_model(classifier, rgb):
    features = classifier.features(rgb)
    assert features.shape == (3, 1280, 4, 4)
    whole = classifier.model((rgb - 0.5) / 0.5)
    assert torch.allclose(classifier.classifier()(features.mean((2, 3))), whole, atol=1e-4)


def test_the_cam_is_the_sum_of_all_class_maps_by_probability(classifier, rgb):
    features = classifier.features(rgb)
    head = classifier.classifier()
    probabilities = head(features.mean((2, 3))).softmax(1)
    class_maps = torch.einsum("bdhw,kd->bkhw", features, head.weight)
    expected = (class_maps * probabilities[..., None, None]).sum(1, keepdim=True)
    assert torch.allclose(PretrainedCAM(classifier, 64).evidence(features), expected, atol=1e-4)


def test_the_principal_component_is_that_of_all_cells(classifier, rgb):
    score_map = FeaturePCA(classifier, 64)
    score_map.fit([rgb[:2], rgb[2:]])
    cells = classifier.features(rgb).permute(0, 2, 3, 1).reshape(-1, 1280).double().numpy()
    centred = cells - cells.mean(0)
    component = np.linalg.svd(centred, full_matrices=False)[2][0]
    projected = centred @ component
    if np.corrcoef(projected, cells.sum(1))[0, 1] < 0:
        projected = -projected
    ours = score_map.evidence(classifier.features(rgb))
    assert np.allclose(ours.flatten().numpy(), projected.clip(0), atol=1e-3 * abs(projected).max())
    other = FeaturePCA(classifier, 64)
    with pytest.raises(UserError, match="feature_pca has not been fitted"):
        other.evidence(classifier.features(rgb))
    other.load_state(score_map.state())
    assert torch.equal(other.evidence(classifier.features(rgb)), ours)


def test_the_network_is_not_run_where_no_map_needs_it(classifier, rgb, monkeypatch):
    network = build("efficientnet_lite0")
    maps = {
        "norm": FeatureNorm(classifier, 64),
        "both": Mean([FeatureNorm(classifier, 64), PretrainedCAM(classifier, 64)]),
    }
    images = network.stem.normalize((rgb * 255).round().byte())
    classes = torch.tensor([0, 1, 2])
    calls = []
    monkeypatch.setattr(classifier, "features", lambda x, run=classifier.features: calls.append(1) or run(x))
    with score_map_context(network, images, {**maps, "attention": SCORE_MAPS["attention"]}) as context:
        expected = {name: context.map(name, classes) for name in maps}
    assert len(calls) == 1, "maps of one backbone share its forward"
    monkeypatch.setattr(network, "forward", lambda *_: pytest.fail("the network was run"))
    with score_map_context(network, images, maps, needs_output=False) as context:
        for name, values in expected.items():
            assert torch.equal(context.map(name, classes), values)
            assert values.shape == (3, 1, 64, 64)


def test_torchvisions_vgg16_has_timms_names(tmp_path, classifier):
    from torchvision.models import vgg16

    original = vgg16(weights=None).eval()
    torch.save(original.state_dict(), tmp_path / "vgg16.pth")
    ours = pretrained_classifier("vgg16", str(tmp_path / "vgg16.pth"), [0.0] * 3, [1.0] * 3)
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(ours.model.eval()(image), original(image), atol=1e-4)


def test_backbones_that_cannot_be_used():
    with pytest.raises(UserError, match=r"need a pretrained backbone, and stem\.weights=none has none"):
        pretrained_classifier("tf_efficientnet_lite0", "none", None, None)
    with pytest.raises(UserError, match=r"weights file /nowhere\.pth does not exist"):
        pretrained_classifier("resnet18", "/nowhere.pth", None, None)


@pytest.mark.parametrize(
    ("model", "has_cam"),
    [("resnet18", True), ("vgg11", False), ("vit_tiny_patch16_224", None), ("convnext_atto", True)],
)
def test_other_models(model, has_cam, tmp_path):
    import timm

    path = tmp_path / "weights.pth"
    torch.save(timm.create_model(model, pretrained=False).state_dict(), path)
    classifier = pretrained_classifier(model, str(path), None, None)
    image = torch.rand(1, 3, 224 if "vit" in model else 64, 224 if "vit" in model else 64)
    if has_cam is None:
        with pytest.raises(UserError, match="gives tokens"):
            classifier.features(image)
        return
    features = classifier.features(image)
    assert FeatureNorm(classifier, 64).evidence(features).shape[:2] == (1, 1)
    if has_cam:
        assert PretrainedCAM(classifier, 64).evidence(features).shape[:2] == (1, 1)
    else:
        with pytest.raises(UserError, match="no class activation maps; choose feature_norm or feature_pca"):
            PretrainedCAM(classifier, 64).evidence(features)
