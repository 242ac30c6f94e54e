"""Training images in few large files."""
