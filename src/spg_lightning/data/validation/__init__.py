"""Checks of files, boxes and images."""
