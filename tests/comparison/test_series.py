"""Mean curves against values worked out by hand."""

from spg_lightning.comparison.series import accuracy_curve, training_curves


def test_curves_are_means_over_the_seeds(study):
    curve = accuracy_curve(study[0], "auto")
    assert curve[0].tolist() == [round(0.1 * k, 1) for k in range(11)]
    assert curve[1].max() == curve[1][5] == 67
    training = training_curves(study[0])
    assert set(training) == {"train/loss_cls", "train/loss_total", "val/gt_known_error"}
    assert training["train/loss_cls"].tolist() == [[4, 9], [3, 2]]
    assert training["val/gt_known_error"].tolist() == [[9], [33]]
