"""Check that every link and picture of the built site leads to a file of it, and every anchor to a place of that file."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, and what it links to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors, self.targets = {"", "top"}, list[str]()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag's anchor and its links."""
        values = dict(attrs)
        self.anchors |= {values.get("id") or "", (values.get("name") or "") if tag == "a" else ""}
        self.targets += [values[key] or "" for key in ("href", "src") if key in values]


def broken_links(site: Path) -> list[str]:
    """Return a line for every link to a missing file or anchor. Links to other sites are not followed."""
    pages = {file.resolve(): Page(file) for file in site.rglob("*.html")}
    broken = []
    for file, page in pages.items():
        for target in page.targets:
            link = urlsplit(target)
            if link.scheme or link.netloc:
                continue
            path = (file.parent / unquote(link.path)).resolve() if link.path else file
            anchors = pages[path].anchors if path in pages else {""}
            if not path.is_file() or unquote(link.fragment) not in anchors:
                broken.append(f"{file.relative_to(site.resolve())}: {target}")
    return sorted(set(broken))


if __name__ == "__main__":
    lines = broken_links(Path(sys.argv[1]))
    print("\n".join(lines) or "every link leads somewhere")
    sys.exit(bool(lines))
