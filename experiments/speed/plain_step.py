"""A plain reading of the authors' training step, to compare ours with: float32, contiguous, image by image.

Written for this purpose from reading https://github.com/xiaomengyc/SPG (models/google/inception3_spg.py, exper/train_frame.py);
nothing is copied. It does what they do, in the order in which they do it:

* all K class maps are upsampled to the input's size, one of them is taken out for each image, and the rest stays in the graph;
* every map is upsampled anew wherever it is needed: twice for B1, three times for B2;
* masks are made image by image, in float32, with 255 for "ignored"; the host waits for the count of each;
* the loss takes the pixels that are not ignored out of the batch by an index;
* Inception's blocks average their input before the 1 x 1 convolution, as torchvision's do;
* gradients are set to zero, parameters are updated one by one, and the host reads the loss at every step.

The convolutions are our network's own modules in contiguous float32, so that both begin with the same weights.

Deviation, as in `spg_lightning.spg.ternary_mask`, so that the losses are the same: a threshold that was lowered for one image
stays with that image; in the authors' code it is carried over to the rest of the batch. Theirs drops units in evaluation, too,
and divides by zero where every pixel of a batch is ignored; neither is copied.
"""

from functools import partial

import torch
from torch.nn import functional as F
from torchvision.models.inception import InceptionA, InceptionC

IGNORED = 255.0
FEW, FRACTION = 30, 0.7  # an image with fewer foreground pixels gets 0.7 * its maximum as threshold


class PlainStep:
    """One training step after the other.

    Args:
        network: an `SPGNetwork` with the branches B1, B2 and C, whose B2 reads A2's last block's input; float32, made contiguous.
        optimizer: network -> SGD, whose groups are kept.
        thresholds: (high, low) for the masks of b2, b1 and c.
    """

    def __init__(self, network, optimizer, thresholds):
        self.network = network.to(memory_format=torch.contiguous_format).train()
        for block in self.network.stem.children():
            for published in (InceptionA, InceptionC):
                if isinstance(block, published):
                    block._forward = partial(published._forward, block)
        self.optimizer = optimizer(self.network)
        for group in self.optimizer.param_groups:
            group["foreach"] = False  # PyTorch 0.3 updated one parameter after the other
        self.thresholds = thresholds

    def __call__(self, images, labels):
        """Train on normalised images (B, 3, Y, X) and labels (B,); return the losses as numbers."""
        outputs = self.forward(images.contiguous(), labels)
        losses = self.loss(outputs, labels, images.shape[-2:])
        self.optimizer.zero_grad(set_to_none=False)
        losses["total"].backward()
        self.optimizer.step()
        return {name: loss.item() for name, loss in losses.items()}

    def forward(self, images, labels):
        """Return logits (B, K), B1's, B2's and C's logit maps (B, 1, H, W) and the attention (B, Y, X)."""
        net = self.network
        features = net.stem(images)
        b1 = net.b_head(F.relu(net.b1(features.a1)))
        b2 = net.b2_head(F.relu(net.b2(features.a2_penultimate)))
        x = self.dropout(features.a2)
        x = self.dropout(F.relu(net.a3_1(x)))
        x = self.dropout(F.relu(net.a3_2(x)))
        class_maps = net.a4(x)
        attention = attention_of(upsampled(class_maps, images.shape[-2:]), labels)
        return class_maps.mean(dim=2).mean(dim=2), b1, b2, net.c(x), attention

    def dropout(self, x):
        """Drop units; drawn in the order in which ours lie in memory (channels last), so that both drop the same."""
        rate = self.network.dropout.p
        if rate == 0:
            return x
        kept = torch.empty_like(x, memory_format=torch.channels_last).bernoulli_(1 - rate)
        return x * (kept.contiguous() / (1 - rate))

    def loss(self, outputs, labels, size):
        """Return the four terms and their sum."""
        logits, b1, b2, c, attention = outputs
        of = self.thresholds
        losses = {"cls": F.cross_entropy(logits, labels)}
        mask = mask_of(attention, *of["b2"])
        mask_b2 = mask_of(upsampled(b2, size).sigmoid().squeeze(1), *of["b1"])
        losses["b2"] = saliency_loss(upsampled(b2, size).squeeze(1), mask)
        losses["b1"] = saliency_loss(upsampled(b1, size).squeeze(1), mask_b2)
        both = (upsampled(b1, size).sigmoid() + upsampled(b2, size).sigmoid()) / 2
        losses["c"] = saliency_loss(upsampled(c, size).squeeze(1), mask_of(both.detach().squeeze(1), *of["c"]))
        return {**losses, "total": losses["cls"] + losses["b1"] + losses["b2"] + losses["c"]}


def upsampled(maps, size):
    """Return maps at the input's size."""
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def attention_of(class_maps, labels):
    """Return each image's map of its label, min-max normalised."""
    attention = class_maps.new_zeros(class_maps.shape[0], *class_maps.shape[2:])
    for i in range(len(labels)):
        attention[i] = class_maps[i, labels[i].item()]
    flat = attention.view(len(labels), -1)
    low, high = flat.min(dim=1, keepdim=True)[0], flat.max(dim=1, keepdim=True)[0]
    return ((flat - low) / (high - low)).view_as(attention)


def mask_of(maps, high, low):
    """Return 1 for foreground, 0 for background, 255 for ignored, as floats (B, Y, X)."""
    mask = torch.zeros_like(maps).fill_(IGNORED)
    for i in range(len(maps)):
        foreground = maps[i] > high
        if foreground.float().sum().item() < FEW:
            foreground = maps[i] > maps[i].max() * FRACTION
        mask[i][foreground] = 1.0
    mask[maps < low] = 0.0
    return mask


def saliency_loss(logits, mask):
    """Return the binary cross-entropy, mean over the pixels that are not ignored."""
    valid = mask.view(-1) < IGNORED
    if not valid.any():
        return 0 * logits.sum()
    return F.binary_cross_entropy_with_logits(logits.reshape(-1)[valid], mask.view(-1)[valid])
