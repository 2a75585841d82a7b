"""Build the documentation into _build/site.

    python docs/build.py                from the last execution of the lessons; executes them first where that is out of date
    python docs/build.py --stale        from whatever lies in _build/executed, however old (while writing)
    python docs/build.py --user NAME    with the links of another hosting account than the one in settings.ini
    python docs/build.py --linkcheck    also asks every outside address that a page links to (needs the network)

Any warning, broken cross-reference, broken link or fetch from outside ends the build with the name of the page.
"""
import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import front
import links
import prepare
import project
import vendor

DOCS, BUILD = project.ROOT / "docs", project.ROOT / "_build"
MAX_PAGE = 3e6  # bytes, beside shared scripts


def sphinx(pages: Path, site: Path, builder: str = "html") -> int:
    command = [sys.executable, "-m", "sphinx", "-b", builder, "-c", str(DOCS), "-W", "--keep-going", "-n", "-q", "-j", "2"]
    command += ["-D", f"html_static_path={DOCS / 'static'},{BUILD / 'static'}", "-D", f"html_extra_path={BUILD / 'extra'}"]
    return subprocess.run([*command, "-d", str(BUILD / "doctrees"), str(pages), str(site)]).returncode


def page_sizes(site: Path) -> dict[str, int]:
    "Bytes of every page with the images that only pages show."
    sizes = {}
    for path in site.rglob("*.html"):
        page = links.Page(path.read_text(encoding="utf-8"))
        images = {(path.parent / address).resolve() for address, fetched in page.addresses if fetched and "_images/" in address}
        sizes[str(path.relative_to(site))] = path.stat().st_size + sum(image.stat().st_size for image in images if image.exists())
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stale", action="store_true", help="take the executed lessons as they are")
    parser.add_argument("--user", help="hosting account; the one in settings.ini when left out")
    parser.add_argument("--site", type=Path, default=project.SITE, help="folder of the site")
    parser.add_argument("--linkcheck", action="store_true", help="also ask every outside address")
    arguments = parser.parse_args()
    if not arguments.stale and project.record() is None:
        print("the lessons have changed since they were last executed: executing them", flush=True)
        if subprocess.run([sys.executable, str(project.ROOT / "tests" / "run_lessons.py"), "--no-check"]).returncode:
            raise SystemExit("the site was not built: a lesson failed")
    start, site = time.perf_counter(), arguments.site.resolve()
    pages = BUILD / "pages"
    vendor.serve(BUILD / "static" / "vendor")
    size = front.write_scripts(BUILD / "static" / "front")
    prepare.prepare(pages, BUILD / "extra", project.links(arguments.user), front.home_part(size))
    for name, text in {"explore.html": front.explore_page(size), "training.html": front.training_page()}.items():
        (BUILD / "extra" / name).write_text(text, encoding="utf-8")
    for folder in (site, BUILD / "doctrees"):
        shutil.rmtree(folder, ignore_errors=True)
    if sphinx(pages, site):
        raise SystemExit("the site was not built: mend what is named above")
    found = links.problems(site) + links.leftovers(site)
    sizes = page_sizes(site)
    found += [f"{name} weighs {size / 1e6:.1f} MB, more than {MAX_PAGE / 1e6:.0f}" for name, size in sizes.items() if size > MAX_PAGE]
    if found:
        raise SystemExit("\n".join([*found, "the site was not built: mend what is named above"]))
    if arguments.linkcheck and sphinx(pages, BUILD / "linkcheck", "linkcheck"):
        raise SystemExit("an outside address does not answer: see above")
    (site / ".nojekyll").touch()
    (BUILD / "site.json").write_text(json.dumps({"hash": project.source_hash(), "sizes": sizes}, indent=1))
    largest = max(sizes, key=sizes.get)
    print(f"{len(sizes)} pages in {time.perf_counter() - start:.0f} s, no broken link; the largest, {largest}, has {sizes[largest] / 1e6:.2f} MB: {site / 'index.html'}")


if __name__ == "__main__":
    main()
