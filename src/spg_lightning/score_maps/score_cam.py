"""Score-CAM (Wang et al., CVPR workshops 2020), by torchcam."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from spg_lightning.score_maps.context import ScoreMap, ScoreMapContext
from spg_lightning.score_maps.registry import register
from spg_lightning.spg.maps import Map
from spg_lightning.spg.network import SPGNetwork

BATCH_SIZE = 128  # masked inputs of one forward


class _Classifier(nn.Module):
    """A network as torchcam expects it: images to logits."""

    def __init__(self, network: SPGNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B K"]:
        logits: Tensor = self.network(images.contiguous(memory_format=torch.channels_last), ()).logits
        return logits


@register("score_cam")
class ScoreCAM(ScoreMap):
    """Features weighted by the logit of the input masked with each of them. Runs the network once a channel and image."""

    def __call__(self, context: ScoreMapContext, classes: Int[Tensor, " B"]) -> Map:
        """Return the rectified weighted sum of the features."""
        from torchcam.methods import ScoreCAM as Extractor

        classifier = _Classifier(context.network)
        with torch.no_grad(), Extractor(classifier, f"network.{context.layer}", batch_size=BATCH_SIZE) as extractor:
            logits = classifier(context.images)
            (maps,) = extractor(class_idx=classes.tolist(), scores=logits, normalized=False)
        return context.upsample(maps.unsqueeze(1))
