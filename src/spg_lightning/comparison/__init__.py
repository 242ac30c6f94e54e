"""Several runs side by side: variants, means over seeds, paired differences, one page."""
