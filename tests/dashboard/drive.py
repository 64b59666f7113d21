"""drive.py URL [SECRET] [--proxy URL] [--name NAME] [--rows N] [--only WORD] [--strict]: a browser plays a user of the
built-in dashboard.

Prints "PASS what", "FAIL what: why" or "SKIP what: why" lines and ends with 1 if anything failed. Screenshots go to
target/dashboard/.

The parts that need something to work with are skipped without it: traffic of our own (--proxy), a name that the daemon's
nameservers know (--name). With --rows the list of connections is scrolled once it has about so many. --only leaves out
the steps whose titles do not contain the word. Times are held against bounds that hold on a busy machine; --strict holds
them against those of an idle one.

The caller restarts the daemon: after the line "ASK stop" or "ASK start" it does so and writes a line to our standard
input. The configuration must send everything through a group with at least two members, and reach loopback through the
chosen one.

`drive.py fake` starts tests/dashboard/fake_api.mjs and does all of that itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import http.server
import json
import pathlib
import re
import subprocess
import sys
import threading
import time
import traceback
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, Request, expect, sync_playwright

HERE = pathlib.Path(__file__).parent
SHOTS = HERE.parent.parent / "target" / "dashboard"
VIEWS = ["overview", "proxies", "connections", "rules", "providers", "dns", "logs", "config"]
LOOKS = {
    "light": {"color_scheme": "light", "locale": "en-GB", "viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark", "locale": "ru-RU", "viewport": {"width": 1280, "height": 800}},
    "phone": {"color_scheme": "light", "locale": "zh-CN", "viewport": {"width": 390, "height": 780}, "is_mobile": True, "has_touch": True},
    "small": {"color_scheme": "dark", "locale": "ru-RU", "viewport": {"width": 320, "height": 640}, "is_mobile": True, "has_touch": True},
}
# What each view shows once it has asked the daemon. `empty` is what a list without rows shows instead.
FILLED = {
    "overview": ".figure:nth-child(3) dd:not(:text('–'))",
    "proxies": ".group",
    "connections": ".list .row:visible, .empty:visible",
    "rules": ".list .row:visible",
    "providers": ".card",
    "dns": "form",
    "logs": ".list .row:visible",
    "config": ".facts dt",
}
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


# Scrolls the list for five seconds, a few rows each frame; answers how long each frame took, shortest first.
SCROLLING = """async () => {
  const list = document.querySelector('.list');
  const deltas = [];
  let before = 0;
  const end = performance.now() + 5000;
  await new Promise((resolve) => requestAnimationFrame(function step(now) {
    if (before) deltas.push(now - before);
    before = now;
    list.scrollTop = (list.scrollTop + 130) % Math.max(1, list.scrollHeight - list.clientHeight);
    if (now < end) requestAnimationFrame(step); else resolve();
  }));
  return deltas.sort((a, b) => a - b);
}"""


class Daemon:
    """The controller under test, asked directly: what the page shows is compared with it."""

    def __init__(self, url: str, secret: str) -> None:
        self.url = url.rstrip("/")
        self.secret = secret

    def get(self, path: str) -> dict:
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {self.secret}"})
        with NO_PROXY.open(request, timeout=10) as answer:
            return json.load(answer)

    def stop(self) -> None:
        self._ask("stop")

    def start(self) -> None:
        self._ask("start")

    def _ask(self, what: str) -> None:
        print(f"ASK {what}", flush=True)
        if not sys.stdin.readline():
            raise RuntimeError("nobody answered")


class FakeDaemon(Daemon):
    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.port = 0
        self.start()
        super().__init__(f"http://127.0.0.1:{self.port}", "test")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        command = ["node", str(HERE / "fake_api.mjs"), str(self.port), str(self.rows)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = urllib.parse.urlsplit(self.process.stdout.readline().strip()).port or 0


class Drip(http.server.BaseHTTPRequestHandler):
    """An origin whose answer never ends: the connection stays until somebody closes it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"drip " * 200)
                time.sleep(0.2)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


def quoted(text: str) -> str:
    """A string of CSS."""
    return json.dumps(text, ensure_ascii=False)


@contextmanager
def curl_through(proxy: str) -> Iterator[tuple[int, subprocess.Popen]]:
    origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Drip)
    origin.daemon_threads = True
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    port = origin.server_address[1]
    command = ["curl", "-sS", "-o", "/dev/null", "--noproxy", "", "-x", proxy, f"http://127.0.0.1:{port}/"]
    client = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield port, client
    finally:
        client.kill()
        client.wait()
        origin.shutdown()


@dataclasses.dataclass(frozen=True)
class Budget:
    """Milliseconds: the first paint, and the frames while 10,000 rows are scrolled."""

    first_paint: float
    median_frame: float
    slow_frame: float


IDLE = Budget(first_paint=200, median_frame=17, slow_frame=50)
BUSY = Budget(first_paint=500, median_frame=34, slow_frame=150)


class Drive:
    def __init__(self, daemon: Daemon, given: argparse.Namespace) -> None:
        self.daemon = daemon
        self.proxy = given.proxy
        self.name = given.name
        self.rows = given.rows
        self.only = given.only
        self.budget = IDLE if given.strict else BUSY
        self.failures = 0
        self.expected: list[tuple[str, str]] = []
        self.changes: list[tuple[str, str]] = []
        self.troubles: list[str] = []

    def step(self, what: str, act: Callable[[Page], str | None], needs: tuple[str, object] | None = None) -> None:
        """`needs`: the option that the step cannot do without, and its value."""
        if self.only not in what:
            return
        if needs and not needs[1]:
            print(f"SKIP {what}: no {needs[0]}", flush=True)
            return
        try:
            more = act(self.page)
            print(f"PASS {what}{f' ({more})' if more else ''}", flush=True)
        except Exception as error:  # noqa: BLE001 - whatever it was, the other steps still tell something
            self.failures += 1
            print(f"FAIL {what}: {str(error).strip()}", flush=True)
            traceback.print_exc(file=sys.stdout)
            self.shot("failure-" + re.sub(r"\W+", "-", what))

    def shot(self, name: str) -> None:
        self.page.screenshot(path=SHOTS / f"{name}.png")

    def open(self, view: str) -> None:
        self.page.evaluate("view => location.hash = `#/${view}`", view)
        expect(self.page.locator(f'#nav a[aria-current][href="#/{view}"]')).to_be_visible()

    def run(self, browser) -> int:
        context = browser.new_context(**LOOKS["light"])
        self.page = context.new_page()
        self.watch(self.page)
        self.before = self.daemon.get("/configs")
        if self.only:
            self.unlock(self.page)
        self.step("asks for the secret and refuses a wrong one", self.unlock)
        self.step("first paint", self.first_paint)
        self.step("overview shows what the daemon says", self.overview)
        self.step("sees the chain of a curl request, and closes it", self.curl, ("--proxy", self.proxy))
        if not self.proxy:
            self.step("closes a connection after asking", self.close_one)
        self.step("switches a group and takes it back", self.switch)
        self.step("scrolls the connections", self.scroll)
        self.step("works from the keyboard", self.keyboard)
        self.step("lists the rules", self.rules)
        self.step("lists the providers", self.providers)
        self.step("asks for a name", self.ask, ("--name", self.name))
        self.step("watches the log", self.logs)
        self.step("checks a configuration without applying it", self.check)
        self.step("survives a restart of the daemon", self.restart)
        self.step("edited nothing it should not", self.edited)
        self.step("reported no error and broke no policy", self.quiet)
        context.close()
        for look, options in LOOKS.items():
            context = browser.new_context(reduced_motion="reduce", **options)
            self.page = context.new_page()
            self.watch(self.page)
            self.step(f"looks: {look}", lambda page, look=look: self.looks(page, look))
            context.close()
        return self.failures

    def watch(self, page: Page) -> None:
        def request(sent: Request) -> None:
            url = urllib.parse.urlsplit(sent.url)
            if sent.method not in ("GET", "OPTIONS"):
                self.changes.append((sent.method, urllib.parse.unquote(url.path)))
            if url.scheme in ("http", "https") and url.netloc != urllib.parse.urlsplit(self.daemon.url).netloc:
                self.troubles.append(f"asked {url.netloc}")

        page.on("request", request)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", lambda message: self.troubles.append(message.text) if "Content Security Policy" in message.text else None)

    def unlock(self, page: Page) -> None:
        page.goto(f"{self.daemon.url}/ui/")
        for secret, right in (("wrong", False), (self.daemon.secret, True)):
            if not self.daemon.secret:
                break
            page.locator("dialog input[type=password]").fill(secret)
            page.keyboard.press("Enter")
            if not right:
                expect(page.locator("dialog .bad")).to_be_visible()
        expect(page.locator("dialog")).to_have_count(0)
        expect(page.locator(".figure").first).to_be_visible()
        kept = page.evaluate("JSON.stringify(localStorage)")
        assert not self.daemon.secret or self.daemon.secret not in kept, "the secret was kept unasked"

    def first_paint(self, page: Page) -> str:
        times = []
        for _ in range(5):
            page.goto("about:blank")
            page.goto(f"{self.daemon.url}/ui/")
            expect(page.locator(".figure").first).to_be_visible()
            read = "performance.getEntriesByType('paint').find(({ name }) => name === 'first-contentful-paint')?.startTime"
            page.wait_for_function(f"() => {read} > 0")
            times.append(page.evaluate(read))
        median = sorted(times)[2]
        assert median <= self.budget.first_paint, f"median {median:.0f} ms"
        return f"median {median:.0f} ms, slowest {max(times):.0f} ms"

    def overview(self, page: Page) -> None:
        version = self.daemon.get("/version")["version"]
        expect(page.locator(".figure dd").nth(6)).to_have_text(version)
        expect(page.locator(".figure dd").nth(3)).to_have_text(re.compile(r"\d.*iB"), timeout=10_000)
        expect(page.locator('#main .segments [aria-pressed="true"]')).to_have_attribute("data-value", self.before["mode"])

    def curl(self, page: Page) -> str:
        self.open("connections")
        with curl_through(self.proxy) as (port, client):
            page.locator("[data-search]").fill(f"127.0.0.1:{port}")
            row = page.locator(".list .row:visible")
            expect(row).to_have_count(1, timeout=10_000)
            deadline = time.monotonic() + 10
            while not (found := [entry for entry in self.daemon.get("/connections")["connections"] or [] if entry["metadata"]["destinationPort"] == str(port)]):
                assert time.monotonic() < deadline, "the daemon does not list it"
            entry = found[0]
            why = f"{entry['rule']}: {entry['rulePayload']}" if entry["rulePayload"] else entry["rule"]
            path = " → ".join([why, *reversed(entry["chains"])] if why else reversed(entry["chains"]))
            expect(row.locator(".path")).to_have_text(path)
            row.locator(".host").click()
            expect(page.locator(".drawer")).to_contain_text(entry["id"])
            self.shot("curl")
            page.keyboard.press("Escape")
            expect(page.locator(".drawer")).to_have_count(0)
            row.locator(".shut").click()
            self.expected.append(("DELETE", f"/connections/{entry['id']}"))
            page.locator("dialog .primary").click()
            client.wait(timeout=10)
            expect(row).to_have_count(0)
            page.locator("#main .segments button").nth(1).click()
            expect(page.locator(".list .row:visible")).to_have_count(1)
            page.locator("#main .segments button").nth(0).click()
        page.locator("[data-search]").fill("")
        return path

    def close_one(self, page: Page) -> None:
        self.open("connections")
        row = page.locator(".list .row:visible").first
        row.locator(".host").click()
        identity = page.locator(".drawer dt", has_text=re.compile("^id$")).locator("+ dd")
        expect(identity).to_be_visible()
        wanted = identity.inner_text()
        page.locator(".drawer .danger").click()
        page.locator("dialog button").first.click()
        assert not any(method == "DELETE" for method, _ in self.changes), "closed although the answer was no"
        page.locator(".drawer .danger").click()
        self.expected.append(("DELETE", f"/connections/{wanted}"))
        page.locator("dialog .primary").click()
        expect(page.locator(".drawer .danger")).to_be_hidden(timeout=5000)
        page.keyboard.press("Escape")
        assert all(entry["id"] != wanted for entry in self.daemon.get("/connections")["connections"] or [])

    def switch(self, page: Page) -> str:
        proxies = self.daemon.get("/proxies")["proxies"]
        order = [proxies[name] for name in proxies["GLOBAL"]["all"] if "all" in proxies.get(name, {})]
        shown = [group["name"] for group in order if not group.get("hidden")]
        group = next(group for group in order if group["type"] == "Selector" and not group.get("hidden") and len(group["all"]) > 1)
        other = next(name for name in group["all"] if name != group["now"])
        now = lambda: self.daemon.get("/proxies/" + urllib.parse.quote(group["name"], safe=""))["now"]  # noqa: E731
        self.open("proxies")
        card = page.locator(f"[data-group={quoted(group['name'])}]")
        expect(card).to_be_visible()
        assert page.locator(".group").evaluate_all("all => all.map(({ dataset }) => dataset.group)") == shown, "order of groups"
        card.locator(".name").click()
        card.locator(f"[data-member={quoted(other)}] .pick").click()
        self.expected += [("PUT", f"/proxies/{group['name']}")] * 2
        expect(card.locator(".member.now")).to_have_attribute("data-member", other)
        assert now() == other, f"the daemon still uses {now()}"
        self.shot("switched")
        page.locator(".toast button").click()
        expect(card.locator(".member.now")).to_have_attribute("data-member", group["now"])
        assert now() == group["now"], "it was not taken back"
        card.locator(".name").click()
        return f"{group['name']}: {group['now']} → {other} and back"

    def scroll(self, page: Page) -> str:
        self.open("connections")
        rows = lambda: int(page.locator(".list").get_attribute("aria-rowcount") or 0)  # noqa: E731
        if self.rows:
            # Some come and go all the time.
            page.wait_for_function("wanted => document.querySelector('.list').ariaRowCount >= wanted", arg=self.rows * 0.99)
        expect(page.locator(".list .row:visible").first).to_be_visible()
        elements = page.locator(".list .row").count()
        frames = page.evaluate(SCROLLING)
        self.shot("scrolled")
        assert page.locator(".list .row").count() == elements <= 80, "the number of rows is not constant"
        page.evaluate("document.querySelector('.list').scrollTop = 0")
        part = lambda share: frames[min(len(frames) - 1, int(len(frames) * share))]  # noqa: E731
        median, slow = part(0.5), part(0.99)
        found = f"{rows()} rows in {elements} elements, {len(frames)} frames: median {median:.1f} ms, 99% {slow:.1f} ms, worst {frames[-1]:.1f} ms"
        assert median <= self.budget.median_frame and slow <= self.budget.slow_frame, found
        return found

    def keyboard(self, page: Page) -> None:
        page.keyboard.press("2")
        expect(page.locator('#nav a[aria-current][href="#/proxies"]')).to_be_visible()
        page.keyboard.press("/")
        expect(page.locator("[data-search]")).to_be_focused()
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        expect(page.locator("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("4")
        expect(page.locator('#nav a[aria-current][href="#/rules"]')).to_be_visible()
        expect(page.locator(".list .row:visible").first).to_be_visible()
        page.locator(".list").focus()
        page.keyboard.press("End")
        expect(page.locator(".list .row.active")).to_be_in_viewport()

    def rules(self, page: Page) -> str:
        rules = self.daemon.get("/rules")["rules"]
        self.open("rules")
        expect(page.locator(".list")).to_have_attribute("aria-rowcount", str(len(rules)))
        last = rules[-1]
        page.locator("[data-search]").fill(f"{last['type']} {last['payload']}".strip())
        expect(page.locator(".list .row:visible").last).to_contain_text(last["proxy"])
        page.locator("[data-search]").fill("")
        return f"{len(rules)} rules"

    def providers(self, page: Page) -> str:
        proxies = self.daemon.get("/providers/proxies")["providers"].values()
        listed = [provider for provider in proxies if provider["name"] != "default" and provider["vehicleType"] != "Compatible"]
        listed += self.daemon.get("/providers/rules")["providers"].values()
        self.open("providers")
        expect(page.locator(".card h3")).to_have_text([provider["name"] for provider in listed])
        return f"{len(listed)} providers"

    def ask(self, page: Page) -> str:
        answer = self.daemon.get(f"/dns/query?name={self.name}&type=A")["Answer"][-1]["data"]
        self.look_up(page)
        expect(page.locator("td.mono").last).to_have_text(answer)
        return answer

    def look_up(self, page: Page) -> None:
        self.open("dns")
        page.locator("form [data-search]").fill(self.name)
        page.keyboard.press("Enter")
        expect(page.locator("td.mono").last).to_be_visible()

    def logs(self, page: Page) -> str:
        self.open("logs")
        page.locator("#main select").select_option("debug")
        lines = page.locator(".list .row:visible")
        if self.proxy:
            with curl_through(self.proxy) as (port, client):
                page.locator("[data-search]").fill(str(port))
                expect(lines.first).to_contain_text(f"127.0.0.1:{port}", timeout=10_000)
                client.kill()
        else:
            expect(lines.first).to_be_visible(timeout=10_000)
        self.shot("logs")
        page.locator("[data-search]").fill("")
        return f"{page.locator('.list').get_attribute('aria-rowcount')} lines"

    def check(self, page: Page) -> str:
        self.open("config")
        page.locator("textarea").fill("mixed-port: 1\noops: [\n")
        self.expected.append(("POST", "/configs/check"))
        page.locator("section .primary").click()
        verdict = page.locator('section [aria-live="polite"] p')
        expect(verdict).to_be_visible()
        self.shot("check")
        return verdict.inner_text()

    def restart(self, page: Page) -> str:
        self.open("connections")
        page.locator("[data-search]").fill("kept")
        self.daemon.stop()
        expect(page.locator("#banner")).to_be_visible(timeout=10_000)
        self.shot("offline")
        page.keyboard.press("Escape")
        self.open("overview")
        self.daemon.start()
        begun = time.monotonic()
        expect(page.locator("#banner")).to_be_hidden(timeout=20_000)
        took = time.monotonic() - begun
        expect(page.locator("dialog")).to_have_count(0)
        expect(page.locator(".figure dd").nth(6)).to_have_text(self.daemon.get("/version")["version"])
        self.open("connections")
        expect(page.locator("[data-search]")).to_have_value("kept")
        page.locator("[data-search]").fill("")
        return f"back after {took:.1f} s, search kept"

    def edited(self, _: Page) -> str:
        assert sorted(self.changes) == sorted(self.expected), f"sent {self.changes}, expected {self.expected}"
        assert self.daemon.get("/configs") == self.before, "the configuration is another"
        return f"{len(self.changes)} changes, all asked for"

    def quiet(self, _: Page) -> None:
        assert not self.troubles, self.troubles

    def looks(self, page: Page, look: str) -> None:
        secret = urllib.parse.quote(self.daemon.secret, safe="")
        page.goto(f"{self.daemon.url}/ui/?secret={secret}")
        for view in VIEWS:
            self.open(view)
            self.fill(page, view)
            self.shot(f"{look}-{view}")
            wide = page.evaluate("[document.documentElement, document.getElementById('main')].some((e) => e.scrollWidth > e.clientWidth)")
            assert not wide, f"{view} is wider than the window"
        assert "secret" not in page.url, "the secret stays in the address"


    def fill(self, page: Page, view: str) -> None:
        shown = page.locator("#main").locator(FILLED[view]).first
        if view == "logs":
            if self.proxy:
                with curl_through(self.proxy):
                    expect(shown).to_be_visible(timeout=10_000)
            return
        expect(shown).to_be_visible(timeout=10_000)
        if view in ("overview", "connections"):
            # More messages, for a line in the graph and for speeds.
            page.wait_for_timeout(2200 if view == "overview" else 1200)
        elif view == "proxies":
            page.locator(".group .name").first.click()
        elif view == "dns" and self.name:
            self.look_up(page)


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("url")
    arguments.add_argument("secret", nargs="?", default="")
    arguments.add_argument("--proxy")
    arguments.add_argument("--name")
    arguments.add_argument("--rows", type=int)
    arguments.add_argument("--only", default="")
    arguments.add_argument("--strict", action="store_true")
    given = arguments.parse_args()
    SHOTS.mkdir(parents=True, exist_ok=True)
    if given.url == "fake":
        given.rows = given.rows or 10_000
        given.name = given.name or "example.com"
    daemon = FakeDaemon(given.rows) if given.url == "fake" else Daemon(given.url, given.secret)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--no-proxy-server"])
            return 1 if Drive(daemon, given).run(browser) else 0
    finally:
        if isinstance(daemon, FakeDaemon):
            daemon.stop()


if __name__ == "__main__":
    sys.exit(main())
