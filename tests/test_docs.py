"The built site, read in a real browser with every request that leaves it blocked and counted."
import functools
import http.server
import json
import re
import shutil
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))
import links  # noqa: E402
import project  # noqa: E402

SITE, BUILT = project.SITE, ROOT / "_build" / "site.json"
AXE = ROOT / "docs" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
LESSON, EXPLORER = "02_attention.html", "10_explore.html"

fresh = BUILT.exists() and (SITE / "index.html").exists() and json.loads(BUILT.read_text())["hash"] == project.source_hash()
needs_site = pytest.mark.skipif(not fresh, reason="the site is not built from the lessons as they are: run make docs")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found: install it to read the site in a browser")


# ---------------------------------------------------------------- the scripts, without a site
def test_broken_links_are_found(tmp_path):
    (tmp_path / "index.html").write_text('<a href="a.html#there">a</a><a href="a.html#missing">b</a><a href="gone.html">c</a><script src="https://cdn.example/x.js"></script><a href="https://example.org">fine</a>')
    (tmp_path / "a.html").write_text('<p id="there">x</p><img src="none.png">')
    (tmp_path / "alone.html").write_text("nobody comes here")
    assert links.problems(tmp_path) == [
        "a.html links to none.png, which does not exist",
        "alone.html cannot be reached from any other page",
        "index.html fetches https://cdn.example/x.js from outside the site",
        "index.html links to a.html#missing, but that page has no such place",
        "index.html links to gone.html, which does not exist",
    ]


@pytest.mark.parametrize("user", ["", "someone"])
def test_links_to_the_account_appear_when_it_is_known(user):
    prepare = pytest.importorskip("prepare")
    page = project.Links(user)
    bar = prepare.bar(project.lesson_paths()[1], page)
    assert "Download this notebook" in bar
    api = prepare.api_page("attention", "02_attention.ipynb", page, prepare.symbols())
    for text, address in ((bar, "https://colab.research.google.com/github/someone/vit_from_scratch/blob/main/nbs/01_"), (bar, "https://github.com/someone/vit_from_scratch/edit/main/nbs/01_"),
                          (api, "https://github.com/someone/vit_from_scratch/blob/main/vit_from_scratch/attention.py#L")):  # fmt: skip
        assert (address in text) == bool(user)
    assert user or "github" not in bar + api


def test_reference_says_what_docments_say():
    prepare = pytest.importorskip("prepare")
    page = prepare.api_page("attention", "02_attention.ipynb", project.Links(), prepare.symbols())
    assert "{py:function} attend(q, k, v, dropout=0.0)" in page
    assert "| `q` | `Tensor` |  | queries `(..., T, d)` |" in page and "| *returns* | `tuple[Tensor, Tensor]` |" in page


def test_prose_is_linked_once_and_never_in_code_or_headings():
    prepare = pytest.importorskip("prepare")
    text = prepare.linked("# `attend`\n`attend` and `attend`\n```\n`attend`\n```\n[`attend`](x) `other`", {"attend": "attention"}, set())
    assert text.count("{py:obj}") == 1 and "\n{py:obj}`attend <vit_from_scratch.attention.attend>` and `attend`" in text


def test_source_syntax_in_the_text_is_found(tmp_path):
    fine = "<pre>| a | **b** $c$</pre><p>x <code>**kwargs</code> and <span class='math'>\\(a\\)</span></p><script>a = '$';</script><table><td>| x</td></table>"
    wrong = ["| a | b |\n|:--|:--|", ".. note::", "see :class:<code>Module</code>", "a **bold** word", "the price is $x$", "# Title", "see [here](a.html)"]
    (tmp_path / "a.html").write_text(fine.replace("| x", "x") + "".join(f"<p>{text}</p>" for text in wrong))
    found = links.leftovers(tmp_path)
    assert len(found) == len(wrong), found
    assert all(what in text for what, text in zip(("pipes", "directive", "role", "emphasis", "formula", "heading", "link"), found, strict=True))


def test_what_a_base_class_says_is_not_repeated():
    prepare = pytest.importorskip("prepare")
    page = prepare.api_page("attention", "02_attention.ipynb", project.Links(), prepare.symbols())
    assert "{py:method} forward" in page and ".. note::" not in page


# ---------------------------------------------------------------- the site on disk
@needs_site
def test_no_page_shows_the_syntax_of_its_source():
    assert links.leftovers(SITE) == []


@needs_site
def test_no_broken_link_no_fetch_every_page_reachable():
    assert links.problems(SITE) == []


@needs_site
def test_pages_are_light():
    heavy = {name: size for name, size in json.loads(BUILT.read_text())["sizes"].items() if size > 3e6}
    assert not heavy


@needs_site
def test_every_lesson_and_module_is_there():
    names = {project.name_of(path).removesuffix(".ipynb") for path in project.lesson_paths() + project.result_paths()}
    names |= {f"api/{path.stem}" for path in project.PACKAGE.glob("*.py") if not path.stem.startswith("_")}
    assert not [name for name in names if not (SITE / f"{name}.html").exists()]
    text = (SITE / "llms.txt").read_text()
    assert all(f"/{name.rpartition('/')[2]}." in text for name in names)
    for path in project.lesson_paths()[1:]:
        assert (SITE / "notebooks" / path.name).read_bytes() == path.read_bytes()
        page = SITE / project.name_of(path).replace(".ipynb", ".html")
        assert f'href="{"../" * (page.parent != SITE)}notebooks/{path.name}"' in page.read_text()


# ---------------------------------------------------------------- the site in a browser
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    handler = functools.partial(Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, server, request):
    "A tab that lets nothing out; at the end no request may have tried, and no error may stand in the console."
    outside, errors = [], []
    # with less motion a page is scrolled at once, and no test sees it half-way
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    tab = context.new_page()

    def gate(route):
        url = route.request.url
        if url.startswith((server, "data:", "blob:", "file:")):
            return route.continue_()
        outside.append(url)
        route.abort()

    context.route("**/*", gate)
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    yield tab
    context.close()
    assert outside == [] and errors == []


def page_with(pattern: str) -> str:
    "The first lesson page whose HTML holds something."
    return next(path.name for path in sorted(SITE.glob("[0-9][0-9]_*.html")) if re.search(pattern, path.read_text()))


@needs_site
@needs_browser
@pytest.mark.parametrize("where", ["http", "file"])
def test_search_finds_rollout(visit, server, where):
    visit.goto((server if where == "http" else SITE.as_uri() + "/") + "search.html?q=rollout")
    visit.locator("#search-results li a").first.wait_for(timeout=20000)
    found = visit.locator("#search-results li a").evaluate_all("links => links.map(a => a.getAttribute('href'))")
    assert any("08_interpretation" in address for address in found) and any("api/interpret" in address for address in found)


@needs_site
@needs_browser
@pytest.mark.parametrize("where", ["http", "file"])
def test_maths_is_rendered(visit, server, where):
    visit.goto((server if where == "http" else SITE.as_uri() + "/") + page_with(r'class="math '))
    visit.locator("mjx-container").first.wait_for(timeout=20000)
    assert visit.locator("mjx-merror").count() == 0
    visit.wait_for_function("document.fonts.status === 'loaded'")
    fonts = visit.evaluate("[...document.fonts].filter(font => font.family.startsWith('MJXTEX') && font.status === 'loaded').length")
    assert fonts > 0, "the fonts of the formulas did not load"


@needs_site
@needs_browser
@pytest.mark.parametrize("where", ["http", "file"])
def test_explorer_is_alive(visit, server, where):
    visit.goto((server if where == "http" else SITE.as_uri() + "/") + EXPLORER)
    explorer = visit.locator(".vfs-attention").first
    explorer.wait_for(timeout=30000)
    canvas = explorer.locator("canvas.vfs-main")
    canvas.scroll_into_view_if_needed()
    look = "node => { const box = node.getContext('2d').getImageData(0, 0, node.width, node.height).data; let sum = 0; for (let i = 0; i < box.length; i += 4) sum = (sum * 31 + box[i] + 7 * box[i + 1] + 13 * box[i + 2]) % 1000000007; return sum; }"
    box, seen, said = canvas.bounding_box(), set(), set()
    for x, y in ((0.1, 0.1), (0.5, 0.5), (0.9, 0.7)):
        visit.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        visit.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")  # it is drawn
        seen.add(canvas.evaluate(look))
        said.add(explorer.locator(".vfs-readout").first.inner_text())
    assert len(seen) == 3 and len(said) == 3, "hovering a patch does not change the overlay"


@needs_site
@needs_browser
@pytest.mark.parametrize("page", ["index.html", "explore.html"])
def test_the_task_of_the_tour_stays_in_sight_on_a_phone(visit, page):
    visit.set_viewport_size({"width": 390, "height": 844})
    visit.goto(f"{SITE.as_uri()}/{page}#tour=2")
    bar = visit.locator(".vfs-tour-bar")
    bar.wait_for(timeout=30000)
    visit.wait_for_function("document.querySelector('.vfs-wall-side') !== null")
    visit.evaluate("() => { const wall = document.querySelector('.vfs-wall-side'); scrollTo(0, scrollY + wall.getBoundingClientRect().bottom - 300); }")
    box = bar.bounding_box()
    assert 0 <= box["y"] <= 60 and box["y"] + box["height"] < 600
    assert visit.evaluate("document.documentElement.scrollWidth") <= 390


@needs_site
@needs_browser
def test_every_page_opens_clean(visit, server):
    for path in sorted(SITE.rglob("*.html")):
        name = path.relative_to(SITE).as_posix()
        if "_static" in name:
            continue
        visit.goto(server + name)  # how soon depends on the machine; docs/build.py holds the weight of every page


@needs_site
@needs_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("page", ["index.html", LESSON, EXPLORER])
def test_no_serious_barrier(visit, server, page, theme):
    if not AXE.exists():
        pytest.skip("axe-core is not installed: run python docs/build.py")
    visit.emulate_media(color_scheme=theme)
    visit.goto(server + page)
    visit.wait_for_load_state("networkidle")
    if page == EXPLORER:
        visit.locator(".vfs-attention").first.wait_for(timeout=30000)
    visit.evaluate(AXE.read_text())
    theirs = [".noUi-target", ".widget-image", ".widget-box"]  # markup of ipywidgets' own slider, picture and box, which no page can change
    found = visit.evaluate("theirs => axe.run({exclude: theirs.map(part => [part])}, {resultTypes: ['violations']})", theirs)["violations"]
    barriers = [f"{item['id']}: {item['help']} — {item['nodes'][0]['html'][:150]} — {item['nodes'][0].get('failureSummary', '')[:300]}" for item in found if item["impact"] in ("serious", "critical")]
    assert not barriers, "\n".join(barriers)


@needs_site
@needs_browser
def test_dark_mode_previous_next_and_copy(visit, server):
    visit.goto(server + LESSON)
    before = visit.evaluate("getComputedStyle(document.body).backgroundColor")
    for _ in range(3):
        visit.locator(".theme-toggle-content button").click()
        if visit.evaluate("getComputedStyle(document.body).backgroundColor") != before:
            break
    else:
        raise AssertionError("no theme looks different")
    assert visit.locator("button.copybtn").count() > 3
    assert "03_" in visit.locator(".related-pages .next-page").get_attribute("href")
    assert "01_" in visit.locator(".related-pages .prev-page").get_attribute("href")
