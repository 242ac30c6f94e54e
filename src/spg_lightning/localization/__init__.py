"""Score map -> boxes -> metrics. Knows nothing of networks: any method's maps will do."""

from spg_lightning.localization.metrics import LocalizationCounts, LocalizationMetric, summarize
from spg_lightning.localization.naive_baselines import naive_baselines
from spg_lightning.localization.pixel_metrics import pixel_average_precision, pixel_histograms
from spg_lightning.localization.threshold_scan import ThresholdScan, box_in_photo, scale_boxes, scan_thresholds

__all__ = [
    "LocalizationCounts",
    "LocalizationMetric",
    "ThresholdScan",
    "box_in_photo",
    "naive_baselines",
    "pixel_average_precision",
    "pixel_histograms",
    "scale_boxes",
    "scan_thresholds",
    "summarize",
]
