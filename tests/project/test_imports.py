"""Who may import whom: arrows never turn back."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers.project_copy import PACKAGES, ROOT

OURS = {*PACKAGES, "command_line", "configuration", "scripts", "tests", "train"}
MAY_IMPORT = {  # beside the standard library and packages that are not listed as heavy
    "common": {"common"},
    "losses": {"common", "losses"},
    "modeling": {"common", "modeling"},
    "loading": {"common", "loading", "modeling"},
    "evaluation": {"common", "evaluation", "compat", "dassl"},
    "datasets": {"common", "datasets", "compat", "dassl"},
    "trainers": {
        *("common", "compat", "dassl", "evaluation", "loading", "losses", "modeling", "trainers")
    },
    "prediction": {
        *("command_line", "common", "compat", "configuration", "dassl", "evaluation", "loading"),
        *("losses", "modeling", "prediction", "trainers"),
    },
    "reporting": {
        *("common", "compat", "dassl", "datasets", "evaluation", "loading", "modeling"),
        *("prediction", "reporting"),
    },
    "sweeping": {
        *("command_line", "common", "compat", "configuration", "dassl", "datasets", "evaluation"),
        *("sweeping", "train", "trainers"),
    },
    "compat": {"common", "compat", "dassl"},
}
HEAVY = {
    *("gradio", "matplotlib", "nltk", "onnx", "onnxruntime", "optuna", "pandas", "sklearn"),
    *("open_clip", "ray", "tokenizers", "transformers"),
}


def imported(path: Path) -> list[tuple[str, bool]]:
    """Modules that a file imports, and whether it does so when it is imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nested = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) or _for_types(function)
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        else:
            continue
        found += [(name, id(node) not in nested) for name in names]
    return found


def _for_types(node: ast.AST) -> bool:
    """Whether it is an `if TYPE_CHECKING:`, which never runs."""
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_arrows_never_turn_back(package):
    assert files(package)
    for path in files(package):
        for name, _ in imported(path):
            top = name.partition(".")[0]
            if top in {*OURS, "dassl"}:
                assert top in MAY_IMPORT[package], f"{path.relative_to(ROOT)} imports {name}"


def module_of(path: Path, root: Path) -> str:
    """The name under which a file is imported."""
    parts = path.relative_to(root).with_suffix("").parts
    if parts[:2] == ("compat", "dassl"):
        parts = parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def named(path: Path, root: Path) -> set[str]:
    """Everything that a file imports, anywhere in it: modules, and what may be one in a package."""
    package = module_of(path, root).split(".")
    if path.stem != "__init__":
        package.pop()
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*start, *filter(None, [node.module])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


def circle(paths: list[Path], root: Path = ROOT) -> list[str]:
    """Modules each of which imports the next, back to the first; empty if there are none."""
    modules = {module_of(path, root): path for path in paths}
    graph = {name: (named(path, root) & modules.keys()) - {name} for name, path in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_file_imports_itself_in_a_circle():
    paths = [path for top in sorted(OURS) for path in files(top)] + sorted(ROOT.glob("*.py"))
    assert len(paths) > 300
    assert not circle(paths)


def test_a_circle_is_found(tmp_path):
    (tmp_path / "compat/dassl").mkdir(parents=True)
    texts = {
        "one.py": "import torch\nfrom dassl import two\n",
        "compat/dassl/two.py": "def late():\n    from .three import name\n",
        "compat/dassl/three.py": "import one.part as part\n",
        "free.py": "import one\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    paths = [tmp_path / name for name in texts]
    assert circle(paths, tmp_path) == []
    paths[2].write_text("import one\n")
    assert set(circle(paths, tmp_path)) == {"one", "dassl.two", "dassl.three"}


def test_only_the_loader_imports_clip():
    for package in MAY_IMPORT:
        for path in files(package):
            tops = {name.partition(".")[0] for name, _ in imported(path)}
            assert "clip" not in tops, f"{path.relative_to(ROOT)} imports clip directly"


def test_a_method_never_imports_another():
    paths = sorted((ROOT / "trainers").glob("*.py"))
    methods = {path.stem for path in paths} - {"__init__"}
    assert len(methods) >= 8
    for path in files("trainers"):
        for name, _ in imported(path):
            if name.startswith("trainers."):
                assert name.split(".")[1] not in methods, f"{path.name} imports {name}"


def test_average_precision_needs_torch_alone():
    tops = {
        name.partition(".")[0]
        for name, _ in imported(ROOT / "evaluation/metrics/average_precision.py")
    }
    assert tops <= {"__future__", "torch", "collections"}


def test_heavy_packages_are_imported_where_they_are_used():
    for package in MAY_IMPORT:
        for path in files(package):
            for name, at_top in imported(path):
                heavy = name.partition(".")[0] in HEAVY
                assert not (heavy and at_top), f"{path.relative_to(ROOT)} imports {name} at its top"


def test_every_package_has_a_floor():
    assert set(MAY_IMPORT) == PACKAGES


def test_no_test_imports_another_test_file():
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for name, _ in imported(path):
            last = name.rpartition(".")[2]
            assert not (name.startswith("tests.") and last.startswith("test_")), f"{path}: {name}"
