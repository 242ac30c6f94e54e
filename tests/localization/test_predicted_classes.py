"""Whether, and at which rank, the label is among the predicted classes."""

import torch

from spg_lightning.localization.predicted_classes import PredictedClasses


def test_ranks_of_predicted_classes():
    ranked = torch.tensor([[4, 2, 1, 0, 3, 5], [0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]])
    predicted = PredictedClasses.of(ranked, torch.tensor([1, 5, 5]), 10)
    assert predicted.rank.tolist() == [2, 5, 0]
    assert predicted.top1.tolist() == [False, False, True]
    assert predicted.top5.tolist() == [True, False, True]
    # too few to say, unless there are no more classes
    two = ranked[:, :2]
    assert PredictedClasses.of(two, torch.tensor([1, 0, 5]), 10)[1:] == (None, None)
    of_two = PredictedClasses.of(torch.tensor([[1, 0], [0, -1]]), torch.tensor([0, 1]), 2)
    assert of_two.rank.tolist() == [1, 3]
    assert of_two.top5.tolist() == [True, False]


def test_five_classes_are_enough_for_five():
    assert PredictedClasses.of(torch.tensor([[0, 1, 2, 3, 4]]), torch.tensor([9]), 10).top5.tolist() == [False]
    assert PredictedClasses.of(torch.tensor([[0, 1, 2, 3]]), torch.tensor([3]), 10).top5 is None
