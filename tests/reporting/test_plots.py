"""The plots of an evaluation: nothing is cut off, however many panels there are."""

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from spg_lightning.reporting.plots import plot_evaluation, plot_panels
from tests.reporting.test_run_page import BOX, NONE, SIZES, evaluation_of

MASKS = [torch.randint(0, 2, (10, 10), dtype=torch.int8, generator=torch.Generator().manual_seed(1)) for _ in SIZES]


@pytest.mark.parametrize(("boxes", "masks", "panels"), [(BOX, None, 2), (BOX, MASKS, 3), (NONE, MASKS, 1)])
def test_legends_lie_inside_their_figure(boxes, masks, panels):
    evaluation = evaluation_of(boxes, masks)
    evaluation.naive_baselines["test/floor_center_gt_known_error"] = 40.0
    del evaluation.curves["val"]  # the longest label: "threshold chosen on test (oracle)"
    together, alone = plot_evaluation(evaluation), plot_panels(evaluation)
    assert len(alone) == len(together.subfigs) == panels
    legends = 0
    for figure, parts in [(together, together.subfigs), *((figure, [figure]) for figure in alone)]:
        FigureCanvasAgg(figure).draw()
        for part in parts:
            for axes in part.axes:
                for shown in [axes.title, axes.xaxis.label, axes.yaxis.label, *filter(None, [axes.get_legend()])]:
                    place = shown.get_window_extent()
                    assert part.bbox.x0 <= place.x0, shown
                    assert place.x1 <= part.bbox.x1, shown
                    assert part.bbox.y0 <= place.y0, shown
                legends += axes.get_legend() is not None
    assert legends == {1: 2, 2: 2, 3: 4}[panels]


def test_without_boxes_and_masks_there_is_nothing_to_plot():
    evaluation = evaluation_of(NONE)
    assert plot_evaluation(evaluation) is None
    assert plot_panels(evaluation) == []
