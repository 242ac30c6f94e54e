"""Training photos in few large files."""
