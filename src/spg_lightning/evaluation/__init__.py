"""What counts mean: chosen thresholds, results by image, other classifiers, folders of maps."""
