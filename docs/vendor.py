"""The npm packages that the site serves itself, at the versions and checksums of package-lock.json.

They are fetched from the npm registry without npm, so that building the site needs Python alone; after
`npm ci --prefix docs` nothing is left to fetch.
"""
import base64
import hashlib
import io
import json
import os
import shutil
import tarfile
import urllib.request
from pathlib import Path

DOCS = Path(__file__).resolve().parent
MODULES = DOCS / "node_modules"
REGISTRY = os.environ.get("npm_config_registry", "https://registry.npmjs.org").rstrip("/")
FILES = {  # in the site: in node_modules
    "require.js": "requirejs/require.js",
    "embed-amd.js": "@jupyter-widgets/html-manager/dist/embed-amd.js",
    "anywidget.js": "anywidget/dist/index.js",
    "mathjax/tex-mml-chtml.js": "mathjax/es5/tex-mml-chtml.js",
    "mathjax/output/chtml/fonts": "mathjax/es5/output/chtml/fonts",
}


def unpack(
    package: bytes,  # a package as the registry sends it
    integrity: str,  # `sha512-…`, from package-lock.json
    folder: Path,  # where its files go
) -> None:
    "Check a package's sum and unpack it."
    kind, _, wanted = integrity.partition("-")
    if base64.b64encode(hashlib.new(kind, package).digest()).decode() != wanted:
        raise ValueError(f"the package for {folder} is not the one that package-lock.json names: its {kind} sum differs")
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        for member in archive.getmembers():
            member.name = member.name.partition("/")[2]  # all of it lies in one folder, whatever its name
            if member.isfile() and not member.name.endswith(".map"):
                archive.extract(member, folder, filter="data")


def install() -> None:
    "Bring node_modules to the locked versions of the packages in package.json."
    named = json.loads((DOCS / "package.json").read_text())
    locked = json.loads((DOCS / "package-lock.json").read_text())["packages"]
    for name in {**named["dependencies"], **named["devDependencies"]}:
        lock, folder = locked[f"node_modules/{name}"], MODULES / name
        there = folder / "package.json"
        if there.exists() and json.loads(there.read_text())["version"] == lock["version"]:
            continue
        address = f"{REGISTRY}/{name}/-/{name.rpartition('/')[2]}-{lock['version']}.tgz"
        print(f"fetching {address}", flush=True)
        with urllib.request.urlopen(address, timeout=120) as answer:
            package = answer.read()
        shutil.rmtree(folder, ignore_errors=True)
        unpack(package, lock["integrity"], folder)


def serve(folder: Path) -> None:
    "Put the files where the site serves them."
    install()
    shutil.rmtree(folder, ignore_errors=True)
    for name, origin in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (MODULES / origin).is_dir() else shutil.copy)(MODULES / origin, folder / name)
    for font in (MODULES / "@jupyter-widgets/html-manager/dist").glob("*.woff*"):
        shutil.copy(font, folder)
