"""The site of docs/: `make docs` builds it with warnings as errors."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "converters")]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import edgefm  # noqa: E402  # found by the path above

project = "edgefm"
author = "edgefm developers"
release = version = edgefm.__version__
html_title = f"edgefm {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click", "directives"]
# A script of tutorials/ is a page by itself; examples are shown by pages.
source_suffix = {".md": "markdown", ".py": "percent-script"}
exclude_patterns = ["examples/**", "*.py"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

# Docstrings are Google style; a word in single backticks is code there.
default_role = "code"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_default_options = {
    "members": True,
    "exclude-members": "__init__, __new__",
    # What edgefm's own bases give (save, the folder of a run), but nothing of these.
    "inherited-members": "Recipe, Mapping, Sequence, BaseException",
}
python_maximum_signature_line_length = 88
python_display_short_literal_types = True
add_module_names = False
smartquotes = False  # options keep their two dashes

html_theme = "furo"
html_show_sourcelink = False
html_show_copyright = False
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["site.css"]
pygments_style = "friendly"
pygments_dark_style = "native"
