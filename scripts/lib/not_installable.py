"""Build backend of pyproject.toml: ends `pip install .` in one sentence.

Packages called `datasets` or `evaluation` in site-packages would hide other projects' of that name.
"""

raise SystemExit(
    "This project is run from its folder and not installed: "
    "`pip install -r requirements.txt`, then `python train.py --help` (docs/installation.md)."
)
