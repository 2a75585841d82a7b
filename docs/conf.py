"Sphinx settings. The pages come from nbs/ and from the library: docs/prepare.py writes them, docs/build.py builds them."
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import project as _project  # noqa: E402

_settings = _project.settings()

project = _settings["title"]
author = _settings["author"]
copyright = _settings["copyright"]  # noqa: A001
release = version = _settings["version"]

extensions = ["myst_nb", "sphinx_copybutton"]
exclude_patterns = ["**.ipynb_checkpoints"]
nitpicky = True
add_module_names = False
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 80

nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # what a cell prints as Markdown may hold tables
nb_ipywidgets_js = {"vendor/require.js": {}, "widgets.js": {}, "vendor/embed-amd.js": {}}
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
mathjax_path = "vendor/mathjax/tex-mml-chtml.js"
mathjax3_config = {"options": {"enableMenu": False}}

html_theme = "furo"
html_title = _settings["title"]
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_baseurl = _project.links().docs
html_theme_options = {"top_of_page_buttons": []}
copybutton_exclude = ".linenos, .gp, .go"
