"""published.py metacubexd|zashboard URL SECRET PROXY: a browser plays a user of a published dashboard.

The dashboard's gh-pages branch is unpacked into a folder of its name below `external-ui`. The configuration has a selector
`Pick` over `one`, which is chosen, and `two`, with a `url` that can be reached, and a proxy provider `sub`. Prints each step, then every call that the
dashboard made of the API, and ends with 1 if a step failed. Screenshots go to target/dashboard/, to be looked at.

crates/adit/tests/interop/dashboard.rs plays the calls that this printed.
"""

import pathlib
import re
import sys
import urllib.parse
from collections import Counter

from drive import curl_through
from playwright.sync_api import Page, Response, expect, sync_playwright

SHOTS = pathlib.Path(__file__).parent.parent.parent / "target" / "dashboard"
VIEWS = {
    "metacubexd": ["overview", "proxies", "rules", "connections", "traffic", "logs", "config"],
    "zashboard": ["overview", "proxies", "connections", "rules", "logs", "settings"],
}


class Published:
    def __init__(self, page: Page, name: str, url: str, secret: str) -> None:
        self.page, self.name, self.url, self.secret = page, name, url, secret
        self.calls: Counter[str] = Counter()
        self.failures = 0
        page.on("response", self.note)
        page.on("websocket", lambda socket: self.calls.update([f"WebSocket {self.shortened(socket.url)}"]))
        # Favicons of elsewhere, news of releases: nothing of ours.
        page.route(lambda asked: urllib.parse.urlsplit(asked).netloc != urllib.parse.urlsplit(url).netloc, lambda route: route.abort())

    def note(self, answer: Response) -> None:
        path = self.shortened(answer.url)
        if not path.startswith("/ui/"):
            body = (answer.request.post_data or "")[:60]
            self.calls[f"{answer.request.method} {path} {body} {answer.status}"] += 1

    def shortened(self, url: str) -> str:
        parts = urllib.parse.urlsplit(url)
        query = "?" + parts.query.replace(self.secret, "SECRET") if parts.query else ""
        return re.sub(r"[0-9a-f-]{36}", "ID", urllib.parse.unquote(parts.path + query))

    def step(self, what: str, act) -> None:
        try:
            act()
            self.page.wait_for_timeout(800)
            print(f"PASS {what}", flush=True)
        except Exception as error:  # noqa: BLE001 - the other steps still tell something
            self.failures += 1
            print(f"FAIL {what}: {str(error).strip()[:400]}", flush=True)
        self.page.screenshot(path=SHOTS / f"published-{self.name}-{what.replace(' ', '-')}.png")

    def open(self, view: str) -> None:
        self.page.evaluate("view => location.hash = `#/${view}`", view)
        self.page.wait_for_timeout(1500)
        assert view in self.page.url, self.page.url

    def asked(self, act, method: str, path: str) -> None:
        with self.page.expect_response(lambda answer: answer.request.method == method and path in answer.url) as answer:
            act()
        # A delay test of a page of the internet fails where there is none.
        assert answer.value.ok or answer.value.status == 504, f"{answer.value.status} {answer.value.url}"

    def text(self, text: str):
        return self.page.get_by_text(text, exact=True).first

    def run(self, proxy: str) -> None:
        where = urllib.parse.urlsplit(self.url)
        login = f"hostname={where.hostname}&port={where.port}&secret={self.secret}&http=true"
        self.page.goto(f"{self.url}/ui/{self.name}/#/setup?{login}")
        self.page.wait_for_timeout(2000)
        with curl_through(proxy):
            for view in VIEWS[self.name]:
                self.step(view, lambda view=view: self.open(view))
        self.open("proxies")
        self.step("test the group", lambda: self.asked(self.test_group, "GET", "/delay"))
        self.step("open the group", lambda: self.text("Pick").click())
        self.step("choose", lambda: self.asked(lambda: self.text("two").click(), "PUT", "/proxies/Pick"))
        self.step("update a provider", self.update)
        with curl_through(proxy) as (port, client):
            self.open("connections")
            expect(self.page.get_by_text(f"127.0.0.1:{port}").first).to_be_visible(timeout=5000)
            self.step("close a connection", lambda: self.asked(self.close_first, "DELETE", "/connections/"))
            client.wait(timeout=10)
        if self.name == "metacubexd":
            self.open("config")
            for button, method, path in [
                ("Reload Config", "PUT", "/configs"),
                ("Flush Fake-IP", "POST", "/cache/fakeip/flush"),
                ("Flush DNS Cache", "POST", "/cache/dns/flush"),
            ]:
                press = self.page.get_by_role("button").filter(has_text=button).first.click
                self.step(button.lower(), lambda press=press, method=method, path=path: self.asked(press, method, path))

    def close_first(self) -> None:
        self.page.locator("tr, [role=row]").filter(has_text="127.0.0.1:").first.locator("button").first.click()

    def test_group(self) -> None:
        if self.name == "zashboard":
            self.page.locator('[data-group-name="Pick"] .latency-state').first.click()
            return
        card = self.page.locator("div").filter(has=self.text("Pick")).filter(has=self.page.locator("button"))
        card.last.locator("button").first.click()

    def update(self) -> None:
        self.page.get_by_text(re.compile("^Proxy providers?", re.I)).first.click()
        self.page.wait_for_timeout(800)
        card = self.page.locator("div").filter(has=self.text("sub")).filter(has=self.page.locator("button")).last
        # A list that stands in the configuration can only be tested in zashboard.
        method, path = ("GET", "/healthcheck") if self.name == "zashboard" else ("PUT", "/providers/proxies/sub")
        self.asked(card.locator("button").first.click, method, path)


def main() -> int:
    name, url, secret, proxy = sys.argv[1:]
    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--no-proxy-server"])
        page = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB").new_page()
        page.set_default_timeout(5000)
        published = Published(page, name, url.rstrip("/"), secret)
        published.run(proxy)
        for call, times in sorted(published.calls.items()):
            print(f"CALL {call} ({times})")
        return min(published.failures, 1)


if __name__ == "__main__":
    sys.exit(main())
