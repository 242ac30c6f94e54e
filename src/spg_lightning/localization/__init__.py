"""Score map -> boxes -> metrics. Knows nothing of networks: any method's maps will do."""

from spg_lightning.localization.floors import floors
from spg_lightning.localization.metrics import Curves, LocalizationMetric, summarize
from spg_lightning.localization.pixels import pixel_average_precision, pixel_histograms
from spg_lightning.localization.scan import Scan, box_in_photo, scale_boxes, scan

__all__ = [
    "Curves",
    "LocalizationMetric",
    "Scan",
    "box_in_photo",
    "floors",
    "pixel_average_precision",
    "pixel_histograms",
    "scale_boxes",
    "scan",
    "summarize",
]
