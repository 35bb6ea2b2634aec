"""The page at `/`, in a real browser: what a person sees, by keyboard too, and that nothing which
the server says becomes markup.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hashmatch
import media
from hashmatch.hashing import hash_image
from hashmatch.server.tokens import add_token
from serving import Server

BROWSER = Path("/usr/bin/chromium")
if not os.environ.get("CI"):
    pytest.importorskip("playwright")
    if not BROWSER.exists():
        pytest.skip(f"there is no {BROWSER}: Debian's package chromium", allow_module_level=True)
from playwright.sync_api import Browser, FilePayload, Locator, Page, Request, Route, sync_playwright  # noqa: E402

CODE = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"
PICTURE = media.encoded(media.picture(7), "PNG")
PICTURE_CODE = hash_image(PICTURE).code.tobytes().hex()
#: Bits of them that differ in what the sets have.
NEAR = [0, 17, 100, 255]
MARKUP = "<img src=x onerror=\"document.title='run'\">"
SCRIPT = "<script>document.title='run'</script>"


def flipped(code: str, bits: list[int]) -> str:
    unpacked = np.unpackbits(np.frombuffer(bytes.fromhex(code), np.uint8))
    unpacked[bits] ^= 1
    return np.packbits(unpacked).tobytes().hex()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "bank"
    with hashmatch.open(path, "c") as database:
        database.create("shared", contributor="forum")
        database.create(MARKUP, contributor=SCRIPT)
        with database.change("shared") as change:
            refs = [f"picture-{number}" for number in range(1_234)]
            codes = np.random.default_rng(1).integers(0, 256, (1_234, 32), dtype=np.uint8)
            change.add("pdq", codes, refs=refs)
            change.add("phash", ["00ff00ff00ff00ff"], refs=["small"])
            change.add("pdq", [flipped(PICTURE_CODE, NEAR)], refs=["dropped"])
            digest = hashlib.md5(PICTURE).hexdigest()
            change.add("md5", [digest], refs=["the very file"], kind="file")
        with database.change(MARKUP) as change:
            change.add("pdq", [flipped(CODE, NEAR)], refs=[SCRIPT], labels=[MARKUP])
            change.opinion(SCRIPT, contributor="A", verdict="investigate")
    return path


@pytest.fixture(scope="module")
def tokens(database: Path) -> dict[str, str]:
    """By name, made before the server begins, which takes a moment to see others."""
    path = database.parent / "tokens"
    return {
        "analyst": add_token(path, "analyst", ["read"]),
        "partner": add_token(path, "partner", ["read"], ["shared"]),
        "writer": add_token(path, "writer", ["read", "write", "admin"]),
    }


@pytest.fixture(scope="module")
def token(tokens: dict[str, str]) -> str:
    return tokens["analyst"]


@pytest.fixture(scope="module")
def server(database: Path, tokens: dict[str, str]) -> Iterator[Server]:
    with Server(database, listen="127.0.0.1:0", tokens=database.parent / "tokens") as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        # A browser's own sandbox needs more than a container has.
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """The page in a tab of its own, and what went wrong or elsewhere in it."""

    def __init__(self, browser: Browser, server: Server, token: str = "", **options: Any) -> None:
        self.url = server.url
        self.said: list[str] = []
        self.elsewhere: list[str] = []
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", self._asked)
        if token:
            self.page.add_init_script(f"sessionStorage.setItem('hashmatch.token', '{token}')")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(f"{self.url}/"):
            self.elsewhere.append(request.url)

    def __enter__(self) -> Page:
        self.page.goto(self.url)
        return self.page

    def __exit__(self, kind: object, *_: object) -> None:
        self.context.close()
        assert kind is not None or not self.elsewhere
        # The browser says so itself of what a page asks without a token, and of what was refused.
        refused = re.compile("Failed to load resource: .* status of 40[013] ")
        assert kind is not None or [said for said in self.said if not refused.match(said)] == []


def look_up(page: Page, code: str, kind: str = "pdq") -> Locator:
    """The matches that the page shows of a hash."""
    page.get_by_label("Type").select_option(kind)
    page.get_by_label("Hash, in hex").fill(code)
    page.get_by_role("button", name="Look up").click()
    page.locator("#answer:not([aria-busy])").wait_for(state="attached")
    return page.locator("article")


def marked(match: Locator, across: int) -> list[int]:
    """The bits that a match's picture marks."""
    path = match.locator(".odd").get_attribute("d") or ""
    return [int(x) + across * int(y) for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", path)]


def test_a_token_is_asked_for_and_kept_while_the_tab_is_open(
    browser: Browser, server: Server, token: str
) -> None:
    with Visit(browser, server) as page:
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Token").fill("hm_wrong")
        page.keyboard.press("Enter")
        dialog.get_by_text("is not known here").wait_for()
        # It cannot be put away.
        page.keyboard.press("Escape")
        assert dialog.is_visible()
        dialog.get_by_label("Token").fill(token)
        page.keyboard.press("Enter")
        page.get_by_role("rowheader", name="shared").wait_for()
        assert not dialog.is_visible()
        assert page.evaluate("[localStorage.length, document.cookie, location.search]") == [
            0,
            "",
            "",
        ]
        assert token not in page.content()
        page.reload()
        page.get_by_role("rowheader", name="shared").wait_for()
        page.get_by_role("button", name="Forget the token").click()
        dialog.wait_for()
        assert page.evaluate("sessionStorage.length") == 0


def test_sets_are_shown_with_their_sizes_and_age(
    browser: Browser, server: Server, token: str
) -> None:
    with Visit(browser, server, token) as page:
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="shared"))
        row.wait_for()
        cells = [cell.inner_text() for cell in row.get_by_role("cell").all()]
        types = ["pdq, phash, md5", "pdq 31, phash 8, md5 equal"]
        assert cells[:5] == ["forum", "1,237", "1,237", *types]
        assert re.fullmatch(r"\d+ (s|min) ago|now", cells[5])
        assert page.locator("#now-generation dt + dd").inner_text() == "2"


def test_who_may_see_one_set_is_shown_that_one(
    browser: Browser, server: Server, tokens: dict[str, str]
) -> None:
    with Visit(browser, server, tokens["partner"]) as page:
        page.get_by_text("No rates: Partner may not see all sets").wait_for()
        assert page.get_by_role("rowheader").all_inner_texts() == ["shared"]
        assert page.locator("#tiles dt + dd").all_inner_texts() == ["–", "–", "–", "2"]  # noqa: RUF001
        assert page.locator("#away").is_hidden()


def test_a_hash_is_tried_by_keyboard_alone(browser: Browser, server: Server, token: str) -> None:
    with Visit(browser, server, token) as page:
        page.get_by_role("rowheader", name="shared").wait_for()
        reached = []
        for _ in range(12):
            page.keyboard.press("Tab")
            focus = page.evaluate(
                "(({id, textContent}, {outlineStyle}) => [id || textContent, outlineStyle])"
                "(document.activeElement, getComputedStyle(document.activeElement))"
            )
            reached.append(focus[0])
            # The file's is around all of where one is dropped.
            assert focus[1] == "solid" or focus[0] == "file", focus
            if focus[0] == "hash":
                page.keyboard.type(CODE)
            if focus[0] == "distance":
                page.keyboard.type("4")
            if focus[0] == "go":
                page.keyboard.press("Enter")
            if focus[0] == "file":
                break
        assert reached[-5:] == ["type", "distance", "hash", "go", "file"], reached
        page.get_by_text("1 match in 1 set, in generation 2.").wait_for()
        assert page.get_by_role("status").get_attribute("aria-live") == "polite"


def test_the_bits_that_differ_are_marked(browser: Browser, server: Server, token: str) -> None:
    with Visit(browser, server, token) as page:
        matches = look_up(page, CODE.upper())
        assert matches.count() == 1
        assert marked(matches, 16) == NEAR
        picture = matches.get_by_role("img")
        said = picture.get_attribute("aria-label")
        assert said == "4 of 256 bits differ: bits 0, 17, 100, 255"
        assert "4 of 256 bits differ, by pdq" in matches.inner_text()
        known = matches.locator(".one").get_attribute("d")
        ones = [int(x) + 16 * int(y) for x, y in re.findall(r"M(\d+)\.2 (\d+)\.2", known or "")]
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(flipped(CODE, NEAR)), np.uint8))
        assert ones == [bit for bit in np.flatnonzero(bits).tolist() if bit not in NEAR]
        small = look_up(page, flipped("00ff00ff00ff00ff", [9, 63]), "phash")
        assert marked(small, 8) == [9, 63]
        look_up(page, "0" * 64)
        assert page.get_by_role("status").inner_text() == "Nothing matches, in generation 2."


def drop(page: Page, content: bytes) -> None:
    """Drop a file, as a person does with a mouse."""
    files = page.evaluate_handle(
        """bytes => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(bytes)], "picture.png"));
            return files;
        }""",
        list(content),
    )
    page.locator("#drop").dispatch_event("dragover", {"dataTransfer": files})
    page.locator("#drop").dispatch_event("drop", {"dataTransfer": files})


def test_a_picture_is_dropped_or_chosen(browser: Browser, server: Server, token: str) -> None:
    with Visit(browser, server, token) as page:
        page.get_by_role("rowheader", name="shared").wait_for()
        drop(page, PICTURE)
        said = page.get_by_text("picture.png, a picture: 2 matches in 1 set, in generation 2.")
        said.wait_for()
        shown = {
            match.get_by_role("heading").inner_text(): match
            for match in page.locator("article").all()
        }
        assert shown.keys() == {"dropped", "the very file"}
        assert marked(shown["dropped"], 16) == NEAR
        assert shown["the very file"].get_by_role("img").count() == 0
        assert "Equal, by md5" in shown["the very file"].inner_text()
        assert f"pdq {PICTURE_CODE}, quality 100" in page.locator("#matches").inner_text()
        chosen = FilePayload(name="letter.txt", mimeType="text/plain", buffer=b"To whom")
        page.locator("#file").set_input_files(chosen)
        page.get_by_text("letter.txt, a file: nothing matches, in generation 2.").wait_for()


def test_what_the_server_hides_is_left_out(browser: Browser, database: Path, token: str) -> None:
    tokens = database.parent / "tokens"
    hidden = Server(database, listen="127.0.0.1:0", tokens=tokens, read_only=True,
                    hide_distances=True)  # fmt: skip
    with hidden as server, Visit(browser, server, token) as page:
        assert not page.get_by_label("Max distance").is_visible()
        match = look_up(page, CODE)
        assert match.get_by_role("heading").inner_text() == SCRIPT
        assert match.get_by_role("img").count() == 0
        assert "differ" not in match.inner_text()


def test_what_is_markup_is_shown_as_text(browser: Browser, server: Server, token: str) -> None:
    with Visit(browser, server, token) as page:
        match = look_up(page, CODE)
        assert match.get_by_role("heading").inner_text() == SCRIPT
        texts = match.locator("dd").all_inner_texts()
        assert texts == [MARKUP, SCRIPT, "image", "investigate", MARKUP]
        page.get_by_role("rowheader", name=MARKUP).wait_for()
        assert page.locator("img").count() == 1 and page.locator("main script").count() == 0
        assert page.title() == "hashmatch"


def test_what_is_refused_is_said_beside_its_field(
    browser: Browser, server: Server, token: str
) -> None:
    with Visit(browser, server, token) as page:
        assert look_up(page, CODE[:-1]).count() == 0
        assert "Hash has 63 hex digits, pdq needs 64." in page.locator("#fault").inner_text()
        field = page.get_by_label("Hash, in hex")
        assert field.get_attribute("aria-invalid") == "true"
        assert page.evaluate("document.activeElement.id") == "hash"
        page.get_by_label("Max distance").fill("-1")
        look_up(page, CODE)
        assert "Max_distance is '-1'" in page.locator("#fault").inner_text()
        assert field.get_attribute("aria-invalid") is None


def test_small_and_dark_screens(browser: Browser, server: Server, token: str) -> None:
    backs = {}
    for scheme in ("light", "dark"):
        viewport = {"width": 360, "height": 740}
        visit = Visit(browser, server, token, viewport=viewport, color_scheme=scheme)
        with visit as page:
            page.get_by_role("rowheader", name="shared").wait_for()
            look_up(page, CODE).wait_for()
            widest = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
            assert page.evaluate(widest) <= 360
            backs[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
            page.goto(f"{server.url}/docs")
            assert page.evaluate(widest) <= 360
    light, dark = (sum(map(int, re.findall(r"\d+", backs[s]))) for s in ("light", "dark"))
    assert light > 3 * 200 > 3 * 60 > dark


def test_rates_and_changes_are_followed(
    browser: Browser, server: Server, tokens: dict[str, str]
) -> None:
    visit = Visit(browser, server, tokens["analyst"])
    # It looks every two seconds, which pass when that is said.
    visit.page.clock.install()
    with visit as page, server.client() as client:
        client.headers["authorization"] = f"Bearer {tokens['writer']}"
        page.get_by_role("rowheader", name="shared").wait_for()
        for _ in range(50):
            assert client.post("/v1/match", json={"hashes": [CODE] * 20}).status_code == 200
        assert client.put("/v1/sets/added", json={}).status_code == 201
        page.clock.fast_forward(2_000)
        page.get_by_role("rowheader", name="added").wait_for()
        assert page.locator("#sets").get_by_text("none yet").is_visible()
        rates = page.locator("#tiles dt + dd")
        rates.nth(0).filter(has_text=re.compile("[1-9]")).wait_for()
        requests, hashes, matches = (float(text) for text in rates.all_inner_texts()[:3])
        assert requests <= 25 and hashes / requests == pytest.approx(20, 0.1)
        assert matches == hashes
        # What the page itself asks for is no load.
        page.clock.fast_forward(2_000)
        rates.nth(0).filter(has_text=re.compile("^0$")).wait_for()


def test_trouble_is_said(browser: Browser, server: Server, token: str) -> None:
    visit = Visit(browser, server, token)
    visit.page.clock.install()
    with visit as page:
        page.get_by_role("rowheader", name="shared").wait_for()
        assert page.get_by_role("alert").count() == 0

        def in_trouble(route: Route) -> None:
            status = route.fetch().json()
            route.fulfill(json={**status, "trouble": "catalog.db is damaged: <b>check</b> it"})

        page.route("**/v1/status", in_trouble)
        page.clock.fast_forward(2_000)
        page.get_by_text("is served: Catalog.db is damaged: <b>check</b> it.").wait_for()
        page.unroute("**/v1/status")
        page.route("**/v1/status", lambda route: route.abort())
        page.clock.fast_forward(2_000)
        page.get_by_text("The server cannot be reached.").wait_for()
        page.unroute("**/v1/status")
        page.clock.fast_forward(30_000)
        page.locator("#away").wait_for(state="hidden")
        assert page.get_by_role("alert").count() == 0
        # The browser says so itself.
        visit.said = [said for said in visit.said if "ERR_FAILED" not in said]
