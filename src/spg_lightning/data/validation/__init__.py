"""Checks of files, boxes and photos."""
