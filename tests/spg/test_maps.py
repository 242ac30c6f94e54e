"""Maps in closed form."""

import torch

from spg_lightning.spg import SPGOutput, attention
from spg_lightning.spg.maps import class_map, foreground, fused, min_max, upsample


def test_upsampling_is_bilinear_between_the_centres_of_pixels():
    row = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    assert upsample(row, (1, 4)).flatten().tolist() == [0, 0.25, 0.75, 1]
    assert upsample(row.expand(2, 3, 1, 2), (5, 7)).shape == (2, 3, 5, 7)
    assert upsample(row.bfloat16(), (1, 4)).dtype == torch.float32
    assert upsample(row.double(), (1, 4)).dtype == torch.float64


def test_each_map_is_scaled_by_its_own_range():
    maps = torch.tensor([[1.0, 2, 3, 5], [-8, 0, 2, 8], [7, 7, 7, 7]]).view(3, 1, 2, 2)
    assert min_max(maps).view(3, 4).tolist() == [[0, 0.25, 0.5, 1], [0, 0.5, 0.625, 1], [0, 0, 0, 0]]


def test_attention_is_the_labels_map_scaled_at_the_size_of_the_image():
    class_maps = torch.zeros(2, 3, 1, 2)
    class_maps[0, 2], class_maps[1, 0] = torch.tensor([-4.0, 4.0]), torch.tensor([3.0, 1.0])
    output, labels = SPGOutput(class_maps.mean((2, 3)), class_maps, None, None, None, (1, 4)), torch.tensor([2, 0])
    assert class_map(output, labels).tolist() == [[[[-4, 4]]], [[[3, 1]]]]
    assert attention(output, labels).view(2, 4).tolist() == [[0, 0.25, 0.75, 1], [1, 0.75, 0.25, 0]]


def test_foreground_is_the_sigmoid_of_upsampled_logits():
    logits = torch.tensor([-4.0, 4.0]).view(1, 1, 1, 2)
    assert torch.allclose(foreground(logits, (1, 4)).flatten(), torch.tensor([-4.0, -2, 2, 4]).sigmoid())
    assert fused(torch.full((1, 1, 2, 2), 0.25), torch.full((1, 1, 2, 2), 0.75)).flatten().tolist() == [0.5] * 4
