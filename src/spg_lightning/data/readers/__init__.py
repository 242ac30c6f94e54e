"""One reader a data set."""
