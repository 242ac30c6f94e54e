"""Score map -> boxes -> metrics. Independent of networks: works with the maps of any method."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "confidence": ["Confidence"],
        "metrics": ["LocalizationCounts", "LocalizationMetric", "summarize"],
        "naive_baselines": ["naive_baselines"],
        "pixel_metrics": ["pixel_average_precision", "pixel_histograms"],
        "regions": ["Region", "find_regions"],
        "threshold_scan": ["ThresholdScan", "box_in_photo", "scale_boxes", "scan_thresholds"],
    },
)
