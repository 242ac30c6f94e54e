"""From a folder of images to files of boxes."""
