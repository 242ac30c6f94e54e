"""The README is the front page of the site, index.html; it and experiments/README get the navigation, which GitHub would show as text."""

import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

GUIDES = (
    "journeys", "install", "training", "data", "evaluation", "predict", "annotate", "python", "export", "reports", "extending",
    "reliability",
)  # fmt: skip
NAVIGATION = {  # page -> caption -> pages
    "README": {
        "Guides": [f"docs/{name}" for name in GUIDES],
        "Reference": ["docs/paper", "docs/api/index", "docs/architecture", "experiments/README"],
        "Project": ["examples/*/README", "docs/dependencies", "CONTRIBUTING", "SECURITY", "CHANGELOG"],
    },
    "experiments/README": {"Experiments": ["experiments/*/README"]},
}


def add_navigation(app: Sphinx, docname: str, source: list[str]) -> None:
    """Append the tables of contents to a page."""
    for caption, pages in NAVIGATION.get(docname, {}).items():
        entries = "\n".join(f"/{page}" for page in pages)
        source[0] += f"\n```{{toctree}}\n:caption: {caption}\n:glob:\n:hidden:\n{entries}\n```\n"


def write_index(app: Sphinx, error: Exception | None) -> None:
    """Copy the front page to the address that a browser asks for."""
    if error is None and app.builder.format == "html":
        shutil.copy(Path(app.outdir) / f"{app.config.root_doc}.html", Path(app.outdir) / "index.html")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the two steps."""
    app.connect("source-read", add_navigation)
    app.connect("build-finished", write_index)
    return {}
