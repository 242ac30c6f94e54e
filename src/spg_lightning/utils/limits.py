"""Limits of what a file may ask for: it may come from anywhere, and memory is allocated by what it says."""

LARGEST_SIDE = 4096  # pixels of a square input of the network, or of a score map's frame
LARGEST_TEXT = 1 << 30  # bytes of a JSON file; COCO's own largest has half
MOST_MAP_VALUES = 1 << 26  # of a score map, 8192 x 8192
