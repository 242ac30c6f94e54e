"""A page in a browser that the tests click through."""

import json
import re
from pathlib import Path

from tests.predicting.pages import SIZE


class Page:
    """An open page, its errors, and what it asked for."""

    def __init__(self, browser, folder: Path, width: int = 1280, height: int = 900) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        self.tab, self.errors, self.requests = self.context.new_page(), [], []
        self.tab.set_default_timeout(10_000)
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("dialog", lambda dialog: dialog.accept())
        self.tab.goto((folder / "page" / "index.html").as_uri())
        self.tab.wait_for_selector("#grid li")
        self.settle()

    def settle(self) -> None:
        """Wait until scripts, maps and frames are through."""
        drawn = "[...document.querySelectorAll('#grid li')].every((one) => one.dataset.status && one.querySelector('canvas')?.width !== 300)"
        self.wait(drawn)
        self.tab.wait_for_timeout(80)

    def wait(self, condition: str) -> None:
        """Wait until an expression is true. Playwright's own waiting would evaluate text, which the page forbids."""
        for _ in range(200):
            if self.tab.evaluate(condition):
                return
            self.tab.wait_for_timeout(50)
        raise AssertionError(condition)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tab.keyboard.press(key)
            self.settle()

    def tile(self, name: str):
        return self.tab.locator("#grid li").filter(
            has=self.tab.locator(".name", has_text=re.compile(f"^{re.escape(name)}$"))
        )

    def open(self, name: str) -> None:
        self.tile(name).locator(".picture").click()
        self.settle()

    def statuses(self) -> dict[str, str]:
        tiles = "[...document.querySelectorAll('#grid li')].map((one) => [one.querySelector('.name').textContent, one.dataset.status])"
        return dict(self.tab.evaluate(tiles))

    def counts(self) -> list[int]:
        return [int(text.replace(",", "")) for text in self.tab.locator(".filters b").all_text_contents()]

    def slide(self, name: str, value: float) -> None:
        act = "(one, value) => { one.value = value; one.dispatchEvent(new Event('input')); one.dispatchEvent(new Event('change')) }"
        self.tab.locator(f"#{name}").evaluate(act, value)
        self.settle()

    def save(self, path: Path) -> dict:
        with self.tab.expect_download() as download:
            self.tab.click("#save")
        download.value.save_as(path)
        return json.loads(path.read_text())

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag over the large photo, from and to places in pixels of the image."""
        frame = self.tab.locator(".frame canvas").bounding_box()
        scale = min(frame["width"] / SIZE[0], frame["height"] / SIZE[1])
        left = frame["x"] + (frame["width"] - SIZE[0] * scale) / 2
        top = frame["y"] + (frame["height"] - SIZE[1] * scale) / 2
        places = [(left + x * scale, top + y * scale) for x, y in (start, end)]
        self.tab.mouse.move(*places[0])
        self.tab.mouse.down()
        self.tab.mouse.move(*places[1], steps=4)
        self.tab.mouse.up()
        self.settle()
