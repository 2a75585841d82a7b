"Packaging: everything that can be is read from settings.ini, the file nbdev reads too."
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
config = ConfigParser(delimiters=["="])
config.read(here / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]

extras = {name: settings[f"{name}_requirements"].split() for name in ("dev", "docs", "hub")}
links = {"Source": settings["git_url"], "Documentation": settings["doc_host"] + settings["doc_baseurl"]}

setup(
    name=settings["pypi_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=settings["author"],
    license="MIT",
    license_files=["LICENSE"],
    keywords=settings["keywords"],
    url=settings["git_url"] if settings["user"] else None,
    project_urls=links if settings["user"] else {},
    packages=find_packages(include=["vit_from_scratch", "vit_from_scratch.*"]),
    package_data={"vit_from_scratch": ["py.typed", "static/*", "weights/*", "samples/*", "recorded/*"]},
    python_requires=">=" + settings["min_python"],
    install_requires=settings["requirements"].split(),
    extras_require=extras,
    entry_points={
        "console_scripts": settings["console_scripts"].split(),
        "nbdev": [f"{settings['lib_name']}={settings['lib_name']}._modidx:d"],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    zip_safe=False,
)
