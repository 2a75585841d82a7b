"Walk a built site: every link inside it leads somewhere, and nothing on a page is fetched from elsewhere."
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src"), ("iframe", "src"), ("video", "src"), ("audio", "src"), ("use", "href")}


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
