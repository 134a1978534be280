"""Which config keys the source files read, found by following attributes, names and arguments."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

METHOD = "method_cfg"  # a method's own node, as its trainer calls it: its class says which one
# Its model calls it `options`; `cse` joins a preset and keys of CSE.
_KNOWN = {METHOD: METHOD, "options": METHOD, "cse": f"{METHOD}.CSE"}
_GETTERS = {"get", "option"}  # of a node, and of a model
Reads = dict[str, set[str]]  # class, or "" outside of classes -> keys, from their section on


def keys_read(paths: Iterable[Path]) -> Reads:
    """Keys ("DATALOADER.CACHE", "method_cfg.N_CTX") that each class and the modules read.

    A read is an attribute in capitals of a node, or `node.get("KEY")`. A node is what a chain of
    such attributes gives, a name that is set to one, or an argument that a caller passes one for.
    """
    functions = [
        (owner, function)
        for path in paths
        for owner, function in _functions(ast.parse(path.read_text()))
    ]
    arguments: dict[tuple[str, str], str] = {}  # of (function, parameter)
    while True:
        scopes = [(owner, _Scope(function, arguments)) for owner, function in functions]
        passed = {}
        for _, scope in scopes:
            passed |= scope.passed([function for _, function in functions])
        if passed == arguments:
            break
        arguments = passed
    found: Reads = defaultdict(set)
    for owner, scope in scopes:
        found[owner] |= scope.reads()
    return found


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions of a file, each with the class that it is a method of, or ""."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield "", node
        elif isinstance(node, ast.ClassDef):
            yield from (
                (node.name, part) for part in node.body if isinstance(part, ast.FunctionDef)
            )


class _Scope:
    """One function: its names that stand for nodes, what it reads and passes on."""

    def __init__(self, function: ast.FunctionDef, arguments: dict[tuple[str, str], str]) -> None:
        self.function = function
        self.names = {name: path for (of, name), path in arguments.items() if of == function.name}
        for statement in ast.walk(function):
            if isinstance(statement, ast.Assign):
                for target in statement.targets:
                    self._bind(target, statement.value)

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for one, its in zip(target.elts, value.elts, strict=True):
                self._bind(one, its)
        elif isinstance(target, ast.Name) and (path := self.path(value)):
            self.names[target.id] = path

    def path(self, node: ast.expr) -> str:
        """The key path that an expression stands for; empty if none."""
        if isinstance(node, ast.Name):
            own = "" if node.id == "options" else _KNOWN.get(node.id, "")  # a name for any node
            return self.names.get(node.id, own)
        if isinstance(node, ast.Attribute):
            if node.attr.isupper():
                return f"{self.path(node.value)}.{node.attr}".lstrip(".")
            return _KNOWN.get(node.attr, "")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in _GETTERS and node.args and isinstance(node.args[0], ast.Constant):
                base = METHOD if node.func.attr == "option" else self.path(node.func.value)
                if base:
                    return f"{base}.{node.args[0].value}"
        return ""

    def reads(self) -> set[str]:
        loads = (
            n for n in ast.walk(self.function) if not isinstance(getattr(n, "ctx", None), ast.Store)
        )
        return {path for node in loads if isinstance(node, ast.expr) and (path := self.path(node))}

    def passed(self, functions: list[ast.FunctionDef]) -> dict[tuple[str, str], str]:
        """Nodes that this function passes to functions of the given ones, by their parameters."""
        found = {}
        for call in (node for node in ast.walk(self.function) if isinstance(node, ast.Call)):
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            for function in (f for f in functions if f.name == name):
                words = [word.arg for word in function.args.args if word.arg != "self"]
                given = dict(zip(words, call.args, strict=False))
                given |= {word.arg: word.value for word in call.keywords if word.arg}
                for word, value in given.items():
                    if path := self.path(value):
                        found[name, word] = path
        return found
