"""published.py WHICH URL SECRET --proxy URL: a browser plays a user of a dashboard that others publish.

WHICH is `metacubexd` or `zashboard`; the daemon at URL serves it as its `external-ui`. Prints "PASS what" or "FAIL what:
why" lines, then what the dashboard asked the daemon for, one call a line, and what went wrong in the page. Ends with 1 if
a step failed or a call was answered in a way that it should not be. Screenshots go to target/dashboard/.

The configuration needs the group `Proxy` (select) with the members `one` and `Helsinki`, the latter of the proxy provider
`subscription`, a delay test that works without the Internet, DNS with fake addresses, and a rule provider that is a file.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import traceback
import urllib.parse
from collections.abc import Callable

from drive import SHOTS, Daemon, curl_through
from playwright.sync_api import Locator, Page, Request, Response, WebSocket, expect, sync_playwright

# Answers that are errors and ought to be.
REFUSALS = {
    ("POST", "/configs/geo"): 500,
    ("POST", "/upgrade/ui"): 500,
    ("POST", "/upgrade"): 500,
    # metacubexd looks for its own server, and, before it knows a daemon, for one below the page.
    ("GET", "/api/control/info"): 401,
    ("GET", "/ui/configs"): 404,
    ("GET", "/ui/version"): 404,
}
# One segment of these paths is a name.
NAMED = re.compile(r"^(/proxies|/group|/providers/proxies|/providers/rules|/connections)/[^/]+")


class Recorder:
    """What a page asks the daemon for, and what goes wrong in it."""

    def __init__(self, page: Page, daemon: str) -> None:
        self.at = urllib.parse.urlsplit(daemon).netloc
        self.calls: dict[str, int] = {}
        self.troubles: list[str] = []
        self.restarted = False
        page.on("response", self.answered)
        page.on("requestfailed", self.failed)
        page.on("websocket", self.opened)
        page.on("console", lambda message: self.complained(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: dialog.accept())
        page.on("pageerror", lambda error: self.complained(str(error)))

    def answered(self, response: Response) -> None:
        request = response.request
        url = urllib.parse.urlsplit(request.url)
        if url.netloc != self.at:
            return
        self.restarted |= url.path == "/restart"
        body = f" {request.post_data[:100]}" if request.post_data else ""
        if not url.path.startswith("/ui"):
            self.count(f"{request.method} {self.pattern(url)}{body} -> {response.status}")
        if response.status >= 400 and not self.restarted and response.status != REFUSALS.get((request.method, url.path)):
            self.troubles.append(f"{response.status} for {request.method} {request.url}{body}")

    def failed(self, request: Request) -> None:
        url = urllib.parse.urlsplit(request.url)
        # Pages leave, and take their questions with them. Others' servers are none of ours. Who is told of a restart may ask
        # again too soon.
        if url.netloc == self.at and not self.restarted and request.failure != "net::ERR_ABORTED":
            self.troubles.append(f"{request.failure} for {request.method} {request.url}")

    def opened(self, socket: WebSocket) -> None:
        url = urllib.parse.urlsplit(socket.url)
        self.count(f"WebSocket {self.pattern(url)}")
        socket.on("framereceived", lambda frame: self.heard(url.path, frame))
        socket.on("socketerror", lambda error: self.troubles.append(f"WebSocket {url.path}: {error}"))

    def heard(self, path: str, frame: str | bytes) -> None:
        if not isinstance(frame, str):
            self.troubles.append(f"WebSocket {path}: a frame that is no text")
        else:
            json.loads(frame)

    def complained(self, text: str) -> None:
        # What did not load is known from the request, which may have been for somebody else.
        if not re.search("Failed to load resource|Failed to fetch|NetworkError", text):
            self.troubles.append(text[:200])

    def pattern(self, url: urllib.parse.SplitResult) -> str:
        path = NAMED.sub(r"\1/{}", url.path)
        query = re.sub(r"(token|url)=[^&]*", r"\1={}", url.query)
        return f"{path}?{query}" if query else path

    def count(self, call: str) -> None:
        self.calls[call] = self.calls.get(call, 0) + 1


class Published:
    """What the two have in common: pages, and calls that are waited for."""

    name: str

    def __init__(self, page: Page, daemon: Daemon, proxy: str) -> None:
        self.page = page
        self.daemon = daemon
        self.proxy = proxy
        self.failures = 0
        self.recorder = Recorder(page, daemon.url)

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        return [
            ("logs in", self.login),
            ("visits the overview", self.overview),
            ("switches a group", self.switch),
            ("tests a group", self.test_group),
            ("updates a proxy provider", self.proxy_provider),
            ("looks at rules and switches one off", self.rules),
            ("updates a rule provider", self.rule_provider),
            ("watches connections and closes one", self.connections),
            ("watches the log", self.logs),
            ("changes settings", self.settings),
            ("looks up a name", self.dns),
            ("maintains the core", self.maintenance),
        ]

    def run(self) -> None:
        for what, act in self.steps():
            try:
                act()
                print(f"PASS {what}", flush=True)
            except Exception as error:  # noqa: BLE001 - the other steps still tell something
                self.failures += 1
                print(f"FAIL {what}: {str(error).strip()[:600]}", flush=True)
                traceback.print_exc(file=sys.stdout)
            self.page.screenshot(path=SHOTS / f"published-{self.name}-{re.sub(r'[^a-z]+', '-', what)}.png")

    def open(self, route: str) -> None:
        self.page.goto(f"{self.daemon.url}/ui/#/{route}")

    def close_one(self, close: Callable[[Locator], None]) -> None:
        self.open("connections")
        # One more than the one that is closed: metacubexd never takes the last row away.
        with curl_through(self.proxy), curl_through(self.proxy) as (port, client):
            row = self.page.get_by_role("row").filter(has_text=f"127.0.0.1:{port}")
            expect(row).to_be_visible()
            self.page.screenshot(path=SHOTS / f"published-{self.name}-rows.png")
            close(row)
            client.wait(timeout=10)
            expect(row).to_have_count(0)

    def change_port(self, field: Locator) -> None:
        """Another SOCKS port, and none again."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            free = server.getsockname()[1]
        for port in (free, 0):
            self.calls("PATCH", "/configs", lambda port=port: (field.fill(str(port)), field.blur()))
            assert self.daemon.get("/configs")["socks-port"] == port

    def calls(self, method: str, path: str, act: Callable[[], None]) -> Response:
        """Does something and waits for the call that it makes."""
        wanted = lambda response: response.request.method == method and urllib.parse.urlsplit(response.url).path == path  # noqa: E731
        with self.page.expect_response(wanted, timeout=10_000) as answer:
            act()
        return answer.value

    def rules(self) -> None:
        self.open("rules")
        for disabled in (True, False):
            self.calls("PATCH", "/rules/disable", self.page.get_by_role("checkbox").nth(1).click)
            assert self.daemon.get("/rules")["rules"][1]["extra"]["disabled"] is disabled

    def now(self, group: str) -> str:
        return self.daemon.get(f"/proxies/{group}")["now"]


class Metacubexd(Published):
    name = "metacubexd"

    def login(self) -> None:
        self.page.goto(f"{self.daemon.url}/ui/")
        self.page.get_by_label("Endpoint URL").fill(self.daemon.url)
        self.page.get_by_label("Secret").fill(self.daemon.secret)
        self.page.get_by_role("button", name="Connect").click()
        expect(self.page).to_have_url(re.compile("#/overview"))

    def overview(self) -> None:
        expect(self.page.get_by_text("Connected to:")).to_be_visible()
        expect(self.page.get_by_text(re.compile(r"Memory Usage.*[1-9]")).first).to_be_visible()

    def group(self) -> Locator:
        title = self.page.locator("[data-testid=proxies-scroll-container] span", has_text=re.compile("^Proxy$"))
        return title.locator("xpath=ancestor::div[contains(@class,'rounded-xl')][1]")

    def switch(self) -> None:
        self.open("proxies")
        self.group().get_by_text("Proxy", exact=True).click()
        for member in ("Helsinki", "one"):
            self.calls("PUT", "/proxies/Proxy", lambda member=member: self.group().get_by_text(member, exact=True).last.click())
            assert self.now("Proxy") == member, f"the daemon uses {self.now('Proxy')}"

    def test_group(self) -> None:
        self.calls("GET", "/group/Proxy/delay", self.group().get_by_role("button").first.click)

    def proxy_provider(self) -> None:
        self.page.get_by_role("button", name="Proxy Providers").click()
        buttons = self.page.get_by_text("subscription", exact=True).locator("xpath=ancestor::div[.//button][1]").get_by_role("button")
        self.calls("PUT", "/providers/proxies/subscription", buttons.nth(0).click)
        self.calls("GET", "/providers/proxies/subscription/Tokyo/healthcheck", buttons.nth(1).click)

    def rule_provider(self) -> None:
        self.page.get_by_role("button", name="Rule Providers").click()
        expect(self.page.get_by_text("home", exact=True)).to_be_visible()
        card = self.page.get_by_text("home", exact=True).locator("xpath=ancestor::div[.//button][1]")
        self.calls("PUT", "/providers/rules/home", card.get_by_role("button").first.click)

    def connections(self) -> None:
        self.close_one(lambda row: row.locator(".conn-close-btn").click())

    def logs(self) -> None:
        self.open("logs")
        with curl_through(self.proxy) as (port, _):
            expect(self.page.get_by_text(f"127.0.0.1:{port}").first).to_be_visible()

    def settings(self) -> None:
        self.open("config")
        mode = self.page.locator("select", has=self.page.locator("option", has_text=re.compile("^Global$")))
        for value in ("global", "rule"):
            self.calls("PATCH", "/configs", lambda value=value: mode.select_option(value))
            assert self.daemon.get("/configs")["mode"] == value
        for _ in range(2):
            self.calls("PATCH", "/configs", self.page.get_by_role("checkbox").first.click)
        self.change_port(self.page.get_by_label("Socks Port"))

    def dns(self) -> None:
        answer = self.calls("GET", "/dns/query", self.page.get_by_role("button", name="DNS Query").click)
        assert "Status" in answer.json(), answer.text()

    def maintenance(self) -> None:
        button = lambda name: self.page.get_by_role("button", name=name).last  # noqa: E731
        for name, method, path in (
            ("Flush Fake-IP", "POST", "/cache/fakeip/flush"),
            ("Flush DNS Cache", "POST", "/cache/dns/flush"),
            ("Update GEO Databases", "POST", "/configs/geo"),
            ("Reload Config", "PUT", "/configs"),
            ("Restart Core", "POST", "/restart"),
        ):
            self.calls(method, path, button(name).click)


class Zashboard(Published):
    name = "zashboard"

    def login(self) -> None:
        # Its own address for tests needs the Internet.
        url = self.daemon.get("/proxies/Auto")["testUrl"]
        self.page.add_init_script(f"localStorage.setItem('config/speedtest-url', {json.dumps(url)})")
        self.page.goto(f"{self.daemon.url}/ui/")
        fields = self.page.get_by_role("textbox")
        fields.nth(1).fill(str(urllib.parse.urlsplit(self.daemon.url).port))
        fields.nth(4).fill(self.daemon.secret)
        self.page.get_by_role("button", name="Submit").click()
        expect(self.page.locator("[data-group-name=Proxy]")).to_be_visible()

    def overview(self) -> None:
        self.open("overview")
        expect(self.page.get_by_text(re.compile("Memory usage")).first).to_be_visible()

    def group(self) -> Locator:
        return self.page.locator("[data-group-name=Proxy]")

    def switch(self) -> None:
        self.open("proxies")
        self.group().locator(".collapse-title").click(position={"x": 8, "y": 8})
        for member in ("Helsinki", "one"):
            choose = self.group().locator(".collapse-content").get_by_text(member, exact=True).click
            self.calls("PUT", "/proxies/Proxy", choose)
            assert self.now("Proxy") == member, f"the daemon uses {self.now('Proxy')}"

    def test_group(self) -> None:
        self.calls("GET", "/group/Auto/delay", self.page.locator("[data-group-name=Auto] .collapse-title .latency-tag").click)
        member = self.group().locator(".collapse-content .latency-tag")
        self.calls("GET", "/proxies/one/delay", member.nth(1).click)
        self.calls("GET", "/providers/proxies/subscription/Helsinki/healthcheck", member.nth(3).click)

    def proxy_provider(self) -> None:
        self.page.get_by_role("tab", name="Proxy provider").click()
        card = self.page.get_by_text("subscription", exact=True).first.locator("xpath=ancestor::div[.//button][1]")
        self.calls("GET", "/providers/proxies/subscription/healthcheck", card.get_by_role("button").nth(0).click)
        self.calls("PUT", "/providers/proxies/subscription", card.get_by_role("button").nth(1).click)

    def rule_provider(self) -> None:
        self.page.get_by_role("tab", name="Rule provider").click()
        row = self.page.locator(".base-container", has_text="home")
        self.calls("PUT", "/providers/rules/home", row.get_by_role("button").click)

    def connections(self) -> None:
        self.close_one(lambda row: row.get_by_role("button").click())

    def logs(self) -> None:
        self.open("logs")
        with curl_through(self.proxy) as (port, _):
            expect(self.page.get_by_text(f"127.0.0.1:{port}").first).to_be_visible()

    def choose_mode(self, now: str, wanted: str) -> None:
        self.page.get_by_role("combobox").filter(has_text=now).click()
        self.page.get_by_role("option", name=wanted).click()

    def keep_settings(self) -> None:
        # What is kept is taken away again, or the next one who logs in is asked whether to use it.
        for method, button in (("PUT", ".btn >> nth=0"), ("DELETE", ".btn-error")):
            self.open("settings?section=generalSettings")
            title = self.page.locator("main").get_by_text("Dashboard settings", exact=True)
            title.locator("xpath=ancestor::div[.//button][1]").get_by_role("button").first.click()
            grid = self.page.locator("[role=dialog] .settings-grid").first
            self.calls(method, "/storage/zashboard", grid.locator(button).click)
            self.page.keyboard.press("Escape")

    def settings(self) -> None:
        self.open("proxies")
        for now, wanted in (("Rule", "Global"), ("Global", "Rule")):
            self.calls("PATCH", "/configs", lambda now=now, wanted=wanted: self.choose_mode(now, wanted))
            assert self.daemon.get("/configs")["mode"] == wanted.lower()
        self.keep_settings()
        self.open("settings?section=backend")
        self.page.get_by_role("navigation", name="Settings category").get_by_role("button", name="Backend").click()
        lan = self.page.get_by_role("checkbox").nth(1)
        for _ in range(2):
            self.calls("PATCH", "/configs", lan.click)
        self.change_port(self.page.get_by_label("SOCKS port"))

    def dns(self) -> None:
        answer = self.calls("GET", "/dns/query", self.page.get_by_role("button", name="DNS query").click)
        assert "Status" in answer.json(), answer.text()

    def maintenance(self) -> None:
        for name, method, path in (
            ("Flush DNS cache", "POST", "/cache/dns/flush"),
            ("Flush fake IP", "POST", "/cache/fakeip/flush"),
            ("Update GEO database", "POST", "/configs/geo"),
            ("Reload configs", "PUT", "/configs"),
        ):
            self.calls(method, path, self.page.get_by_role("button", name=name).click)
        self.page.get_by_role("button", name="Restart core").click()
        self.calls("POST", "/restart", self.page.get_by_role("button", name="Confirm").click)


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("which", choices=["metacubexd", "zashboard"])
    arguments.add_argument("url")
    arguments.add_argument("secret")
    arguments.add_argument("--proxy", required=True)
    given = arguments.parse_args()
    SHOTS.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=10_000)
    kind = {"metacubexd": Metacubexd, "zashboard": Zashboard}[given.which]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--no-proxy-server"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, locale="en-GB", reduced_motion="reduce")
        page.set_default_timeout(10_000)
        user = kind(page, Daemon(given.url, given.secret), given.proxy)
        user.run()
    for call, count in sorted(user.recorder.calls.items()):
        print(f"{count:4} {call}")
    for trouble in dict.fromkeys(user.recorder.troubles):
        print(f"TROUBLE {trouble}")
    return 1 if user.failures or user.recorder.troubles else 0


if __name__ == "__main__":
    sys.exit(main())
