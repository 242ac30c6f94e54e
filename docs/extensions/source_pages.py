"""A link to a source file leads to a page of the site that shows the file, where GitHub would show it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.osutil import relative_uri

LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml"}


def link_to_pages(app: Sphinx, doctree: nodes.document) -> None:
    """Replace links that would download a source file by links to its page."""
    for link in list(doctree.findall(addnodes.download_reference)):
        file = (Path(app.env.doc2path(app.env.docname)).parent / link["reftarget"]).resolve()
        if file.suffix not in LANGUAGES:
            continue
        page = f"source/{file.relative_to(app.srcdir).as_posix()}"
        app.env.source_pages.add(page)
        own, target = (app.builder.get_target_uri(name) for name in (app.env.docname, page))
        link.replace_self(nodes.reference("", "", *link.children, refuri=relative_uri(own, target), internal=True))


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield a page for every linked file."""
    for page in sorted(app.env.source_pages):
        name = page.removeprefix("source/")
        file = Path(app.srcdir) / name
        code = app.builder.highlighter.highlight_block(file.read_text(), LANGUAGES[file.suffix])
        yield page, {"title": name, "body": f"<h1>{name}</h1>{code}"}, "page.html"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the two steps; links are replaced before Sphinx copies the files they lead to."""
    app.connect("builder-inited", lambda app: setattr(app.env, "source_pages", set()))
    app.connect("doctree-read", link_to_pages, priority=400)
    app.connect("html-collect-pages", source_pages)
    return {}
