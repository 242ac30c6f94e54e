"""Compare many runs: variants, means over seeds, paired differences, published figures, one page."""
