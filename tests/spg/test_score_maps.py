import pytest
import torch

from spg_lightning.errors import UserError
from spg_lightning.spg.score_maps import SCORE_MAPS, attention, available, choose, min_max
from tests.spg.test_losses import LABELS, output


@pytest.mark.parametrize("name", SCORE_MAPS)
def test_every_map_spans_0_to_1_at_input_size(name):
    values = SCORE_MAPS[name].compute(output(), LABELS)
    assert values.shape == (3, 1, 16, 16)
    assert values.amin((1, 2, 3)).tolist() == [0, 0, 0]
    assert values.amax((1, 2, 3)).tolist() == pytest.approx([1, 1, 1])


def test_attention_is_the_labels_map_and_knows_no_offset():
    out = output()
    shifted = out._replace(class_maps=out.class_maps * 3 - 7)
    assert torch.allclose(attention(out, LABELS), attention(shifted, LABELS), atol=1e-5)
    other = attention(out, torch.tensor([1, 1, 1]))
    assert not torch.allclose(attention(out, LABELS), other)


def test_a_constant_map_becomes_zero():
    assert (min_max(torch.full((2, 1, 3, 3), 0.4)) == 0).all()


def test_only_what_the_network_has_is_offered():
    assert available(()) == ["attention"]
    assert choose("auto", ("b1", "b2")) == ["attention", "fused", "b1", "b2"]
    with pytest.raises(UserError, match="score_map=c needs branches"):
        choose("c", ("b1", "b2"))
    with pytest.raises(UserError, match="Did you mean 'attention'"):
        choose("atention", ())
