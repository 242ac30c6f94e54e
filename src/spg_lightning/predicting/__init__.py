"""From photos to predictions: inputs and writers."""
