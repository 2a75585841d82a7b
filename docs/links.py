"Walk a built site: links lead somewhere, nothing is fetched from elsewhere, and no source syntax is left in the text."
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src"), ("iframe", "src"), ("video", "src"), ("audio", "src"), ("use", "href")}


LITERAL = {"pre", "code", "script", "style", "svg", "textarea", "dt"}  # where source syntax is meant to be seen
SYNTAX = {
    "a table that is still raw pipes": r"^\|",
    "a directive": r"(?:^|\s)\.\. [\w-]+::|^:{3,}|^`{3}",
    "a role": r":[a-z]+:(?:`|$|\s|…)|\{[\w:]+\}`",
    "emphasis": r"\*\*",
    "a formula": r"\$",
    "a heading": r"^#{1,6} ",
    "a link": r"\]\((?:https?:|\w+\.)",
}


class Page(HTMLParser):
    "The anchors and the addresses of one page."

    def __init__(self, text: str):
        super().__init__()
        self.ids: set[str] = set()
        self.addresses: list[tuple[str, bool]] = []  # (address, whether the browser fetches it by itself)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids |= {values[key] for key in ("id", "name") if values.get(key)}
        for key in ("href", "src"):
            if value := values.get(key):
                link_only = tag == "link" and values.get("rel") in ("canonical", "next", "prev", "author", "index", "search")
                self.addresses.append((value, (tag, key) in FETCHED and not link_only))


class Prose(HTMLParser):
    "The blocks of text of one page, without code, scripts and formulas."

    VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())
    INLINE = frozenset("a abbr b cite em i mark q s small span strong sub sup u".split())

    def __init__(self, text: str):
        super().__init__()
        self.blocks: list[str] = [""]
        self.open: list[tuple[str, bool]] = []  # (tag, whether its text is literal)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.VOID:
            return
        formula = "math" in (dict(attrs).get("class") or "").split()
        self.open.append((tag, formula or tag in LITERAL or bool(self.open and self.open[-1][1])))
        if tag not in self.INLINE and tag not in LITERAL:
            self.blocks.append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open and any(name == tag for name, _ in self.open):
            if self.open.pop()[0] == tag:
                break
        if tag not in self.INLINE and tag not in LITERAL:
            self.blocks.append("")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1][1]:
            self.blocks[-1] += "…"  # something literal stands here
        else:
            self.blocks[-1] += data


def leftovers(site: Path) -> list[str]:
    "One sentence per block of text that shows the syntax it was written in."
    found = []
    for path in sorted(site.rglob("*.html")):
        if "_static" in path.parts:
            continue
        for block in Prose(path.read_text(encoding="utf-8")).blocks:
            text = block.strip()
            found += [f"{path.relative_to(site)} shows {what}: {text[:70]!r}" for what, form in SYNTAX.items() if re.search(form, text, re.M)]
    return found


def problems(site: Path) -> list[str]:
    "One sentence per broken link, per fetch from outside and per page that no other page leads to."
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html") if "_static" not in path.parts}
    found, reached = [], {site / "index.html", site / "search.html", site / "genindex.html", site / "py-modindex.html"}
    for path, page in pages.items():
        name = path.relative_to(site)
        for address, fetched in page.addresses:
            parts = urlsplit(address)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                if fetched:
                    found.append(f"{name} fetches {address} from outside the site")
                continue
            goal = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            goal = goal / "index.html" if goal.is_dir() else goal
            if not goal.exists():
                found.append(f"{name} links to {address}, which does not exist")
            elif parts.fragment and goal in pages and unquote(parts.fragment) not in pages[goal].ids | {"", "top"} and not fetched:
                found.append(f"{name} links to {address}, but that page has no such place")
            if goal != path:
                reached.add(goal)
    found += [f"{path.relative_to(site)} cannot be reached from any other page" for path in pages.keys() - reached]
    for path in site.rglob("*.css"):
        for address in re.findall(r"url\(\s*['\"]?(https?:)?//[^)]+\)", path.read_text(encoding="utf-8", errors="ignore")):
            found.append(f"{path.relative_to(site)} fetches {address} from outside the site")
    return sorted(set(found))
