"""One style of docstrings: what the linter cannot ask for."""

from __future__ import annotations

import ast
import re

import pytest

from tests.helpers.project_copy import PACKAGES, ROOT

SECTIONS = ("Args:", "Attributes:", "Returns:", "Raises:", "Yields:")
ENTRY = re.compile(r"^ {4}(?:\*{0,2}[\w, .*]+(?: \([^)]*\))?: )(?P<text>.+)")
NAMES = (
    "Dassl",
    "CoOp",
    "DualCoOp",
    "OpenAI",
    "ResNet",
    "PyTorch",
    "RandomSampler",
)  # keep their capitals


def docstrings(path):
    """Line and cleaned text of each docstring in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, kinds) and ast.get_docstring(node):
            yield getattr(node, "lineno", 1), ast.get_docstring(node)


def complaints(text):
    """What is not in the project's style."""
    if "``" in text or re.search(r":[a-z]+:`", text):
        yield "double backticks, or a role of Sphinx's"
    section = ""
    for line in text.splitlines():
        if line in SECTIONS:
            section = line
        elif line and not line.startswith(" "):
            section = ""
        entry = ENTRY.match(line)
        if entry and section in ("Args:", "Attributes:", "Raises:"):
            word = entry["text"].split()[0]
            if re.match(r"[A-Z][a-z]", word) and not word.startswith(NAMES):
                yield f"{section} entry begins with a capital: {word}"


@pytest.mark.parametrize("package", sorted({*PACKAGES, "scripts", "."}))
def test_docstrings_are_in_one_style(package):
    pattern = "*.py" if package == "." else "**/*.py"
    found = [
        f"{path.relative_to(ROOT)}:{line}: {complaint}"
        for path in sorted((ROOT / package).glob(pattern))
        for line, text in docstrings(path)
        for complaint in complaints(text)
    ]
    assert not found, "\n".join(found)


def test_the_style_is_looked_for():
    text = "First.\n\nArgs:\n    a: The one.\n    b, c: Dassl's.\n\nRaises:\n    ValueError: ``a``."
    assert list(complaints(text)) == [
        "double backticks, or a role of Sphinx's",
        "Args: entry begins with a capital: The",
    ]
