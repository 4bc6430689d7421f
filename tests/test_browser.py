"""The rendered book as its reader has it: opened from disk in Chromium, with the network cut."""

import re
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from rendered import CHAPTERS, PROSE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--host-resolver-rules=MAP * ~NOTFOUND", "--disable-gpu", "--disable-quic", "--disable-background-networking")
# Marks, of the words that look alike, the first: a page has thousands of words, a few dozen looks, and axe is slow.
LOOKS = """() => {
    const looks = new Set();
    for (const element of document.body.querySelectorAll('*')) {
        const written = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
        const {color, fontSize, fontWeight} = getComputedStyle(element);
        const look = [written && element.checkVisibility(), color, fontSize, fontWeight];
        for (let box = element; box; box = box.parentElement) {
            const {backgroundColor, opacity} = getComputedStyle(box);
            if (backgroundColor !== 'rgba(0, 0, 0, 0)' || opacity !== '1') look.push(backgroundColor, opacity);
        }
        element.toggleAttribute('data-look', look[0] && !looks.has(look.join()));
        looks.add(look.join());
    }
}"""
UNFOLD = """() => {
    document.querySelectorAll('details').forEach(element => element.open = true);
    document.querySelectorAll('.toggle-hidden').forEach(element => element.classList.remove('toggle-hidden'));
}"""
# Every word of a diagram: itself, its colour, and the colour of what it is drawn on.
DRAWN_WORDS = """() => [...document.querySelectorAll('.diagram text')].map(word => {
    word.scrollIntoView({block: 'center', inline: 'center'});
    const {x, y, width, height} = word.getBoundingClientRect();
    const below = document.elementsFromPoint(x + width / 2, y + height / 2).filter(e => e.matches('.diagram :not(text)'));
    const grounds = below.map(e => getComputedStyle(e).fill).filter(fill => /^(rgb|color)/.test(fill));
    return [word.textContent, getComputedStyle(word).fill, grounds[0]];
})"""
PAGES = (*(f"book/{name}.html" for name in PROSE + CHAPTERS), "search.html", "genindex.html")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed: no page was opened in a browser.")


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def watched(browser: Browser) -> tuple[Page, list[str]]:
    """A page in the light theme, and the list of what goes wrong on it."""
    page = browser.new_context(offline=True, color_scheme="light", viewport=DESK).new_page()
    page.set_default_timeout(15_000)
    wrong = []
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url[:200]}"))
    here = ("file:", "data:", "blob:")
    page.on("request", lambda r: None if r.url.startswith(here) else wrong.append(f"asked: {r.url[:200]}"))
    return page, wrong


@pytest.fixture(scope="module", params=PAGES)
def opened(browser, html, request):
    """Each page once, opened and at rest, and what went wrong on it."""
    page, wrong = watched(browser)
    page.goto((html / request.param).as_uri())
    page.evaluate("window.MathJax?.startup?.promise")
    page.add_style_tag(content="* { transition: none !important; }")
    page.evaluate(UNFOLD)
    yield page, wrong
    page.context.close()


def test_its_formulas_are_typeset(opened):
    page, _ = opened
    raw = "[...document.querySelectorAll('main .math')].filter(e => !e.querySelector('mjx-container'))"
    assert page.evaluate(f"{raw}.map(e => e.textContent)") == []
    assert page.locator("mjx-merror").all_inner_texts() == []
    prose = """() => {
        const copy = document.querySelector('main').cloneNode(true);
        copy.querySelectorAll('pre, code, script, mjx-container').forEach(e => e.remove());
        return copy.textContent;
    }"""
    assert not re.findall(r".{0,40}(?:\$|\\[(\[a-zA-Z]).{0,40}", page.evaluate(prose))


def test_its_players_play(opened):
    page, _ = opened
    for player in page.locator(".animation").all():
        picture = player.locator("img")
        for button in ("Next frame", "Play"):
            before = picture.get_attribute("src")
            player.get_by_title(button, exact=True).click()
            page.wait_for_function("([image, old]) => image.src !== old", arg=[picture.element_handle(), before])
        player.get_by_title("Pause").click()


@pytest.mark.parametrize("window", [PHONE, DESK], ids=["phone", "desk"])
def test_it_is_no_wider_than_the_window(opened, window):
    page, _ = opened
    page.set_viewport_size(window)
    beyond = """() => [...document.body.querySelectorAll('*')]
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
    fits = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert fits, page.evaluate(beyond)


def test_its_players_stay_in_their_boxes_on_a_phone(opened):
    page, _ = opened
    page.set_viewport_size(PHONE)
    beyond = "e => e.getBoundingClientRect().right - e.closest('.cell_output').getBoundingClientRect().right"
    for player in page.locator(".animation, .animation img, .still img").all():
        assert player.evaluate(beyond) <= 1


def test_its_diagram_is_legible_on_a_phone_and_moves_by_keys(opened):
    page, _ = opened
    page.set_viewport_size(PHONE)
    for box in page.locator(".wide").all():
        heights = box.locator("text").evaluate_all("words => words.map(word => word.getBoundingClientRect().height)")
        assert min(heights) > 10
        page.wait_for_function("box => box.tabIndex === 0", arg=box.element_handle())
        box.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("box => box.scrollLeft > 0", arg=box.element_handle())


def luminance(colour: str) -> float:
    """Of what a browser computes, ``rgb(…)`` or ``color(srgb …)``, as WCAG has it."""
    parts = [float(part) / (1 if colour.startswith("color") else 255) for part in re.findall(r"[\d.]+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_words_of_its_diagram_stand_out_in_both_themes(opened):
    page, _ = opened
    page.set_viewport_size(DESK)
    panels = []
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.wait_for_function(f"document.documentElement.dataset.theme === '{theme}'")
        for word, colour, ground in page.evaluate(DRAWN_WORDS):
            dark, light = sorted((luminance(colour), luminance(ground)))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (theme, word, colour, ground)
        panels += page.locator(".diagram .panel").first.evaluate_all("all => all.map(e => getComputedStyle(e).fill)")
    assert not panels or luminance(panels[0]) > 0.9 and luminance(panels[1]) < 0.05


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_its_words_stand_out(opened, theme):
    page, _ = opened
    page.emulate_media(color_scheme=theme)
    page.wait_for_function(f"document.documentElement.dataset.theme === '{theme}'")
    page.evaluate(LOOKS)
    options = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}
    faint = Axe().run(page, {"include": [["[data-look]"]]}, options).response["violations"]
    assert [(node["html"][:120], node["any"][0]["message"]) for rule in faint for node in rule["nodes"]] == []


def test_all_this_went_in_silence(opened):
    _, wrong = opened
    assert not wrong


def test_the_theme_button_changes_the_theme(browser, html):
    page, wrong = watched(browser)
    page.goto((html / "book" / "intro.html").as_uri())
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.locator(".theme-switch-button:visible").click()
    page.wait_for_function(f"{ground} !== '{light}'")
    assert not wrong
    page.context.close()


def test_the_search_leads_to_the_chapter(browser, html):
    page, wrong = watched(browser)
    page.goto((html / "book" / "intro.html").as_uri())
    page.locator(".search-button-field:visible").click()
    page.keyboard.type("learning intensity")
    page.keyboard.press("Enter")
    page.locator("#search-results a[href*='book/clcl.html']").first.click()
    page.wait_for_url("**/book/clcl.html*")
    assert "learning intensity" in page.locator("main").inner_text()
    assert not wrong
    page.context.close()
