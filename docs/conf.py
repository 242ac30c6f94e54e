"""Sphinx builds the site from the Markdown files of the checkout and the docstrings: `make docs`."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "extensions"))

project = "spg_lightning"
author = "the spg_lightning authors"
copyright = f"2026 {author}"
version = release = installed_version("spg-lightning")

# the source folder is the root of the checkout, so that a relative link between Markdown files works there and on the site
root_doc = "README"
include_patterns = [
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**.md", "experiments/README.md", "experiments/**/README.md", "examples/**.md",
]  # fmt: skip
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "front_page",
    "source_pages",
]

myst_heading_anchors = 4  # GitHub's anchors
myst_links_external_new_tab = False

default_role = "py:obj"  # `Name` in a docstring is a link where the name is documented, and code elsewhere
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_ivar = True  # attributes belong to their class, and are no entries of their own

html_theme = "furo"
html_title = f"spg_lightning {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
