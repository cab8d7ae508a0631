"""Sphinx: how the documents become a site. `scripts/docs` runs it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from shardq.version import __version__

project = "shardq"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "docs.extensions.fact_directive",
    "docs.extensions.outside",
    "docs.extensions.docstrings",
]
exclude_patterns = ["extensions"]

# Links to headings, as `failures.md#dead-letters`.
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
# Docstrings have `names` in single backticks.
default_role = "code"

# Blocks marked `py` are pieces of a program, marked `python` whole ones: to Pygments both are Python.
highlight_language = "none"
html_theme = "furo"
html_title = f"shardq {__version__}"
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False
html_show_copyright = False
html_show_sourcelink = False
