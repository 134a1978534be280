"""Read pickles as data: nothing in them is imported, called or given attributes.

A pickle is a program for a small stack machine, and Python's own machine runs whatever functions it
names. The one here builds plain values (numbers, text, bytes, lists, tuples, dicts, sets) and calls
only functions of a `Vocabulary`, all of which are ours; everything else is refused, or becomes an
inert `Placeholder`.

Limits, so that memory and time stay in proportion to the file: a million instructions (a checkpoint
of a thousand tensors has 30,000); arguments of calls of 8 times the pickle's bytes altogether; and
values that number 4 millions, each shared one counted wherever it stands, and lie at most 100
containers deep.
"""

from __future__ import annotations

import pickletools
from collections import deque
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from common.readers.pickles.extent import check_extent
from common.readers.pickles.vocabulary import (
    Function,
    Placeholder,
    Unfinished,
    Vocabulary,
    checked_key,
    printable,
    refusal,
)

MAX_INSTRUCTIONS = 1_000_000
_MAX_PLACEHOLDER_KINDS = 10_000
_COPIED_PER_BYTE = 8  # of the pickle: what calls may be given, as they may copy it
_SLACK = 1 << 16  # bytes that may be copied however small the pickle is
_SIZED = (str, bytes, bytearray, list, dict, tuple)

_LITERALS = set(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT BINBYTES SHORT_BINBYTES BINBYTES8 "
    "BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8".split()
)
_PYTHON_2_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_SILENT = {"PROTO", "FRAME", "STOP"}


def read_pickle(
    stream: BinaryIO, size: int, vocabulary: Vocabulary, persistent: Function | None = None
) -> Any:  # noqa: ANN401 - whatever was pickled
    """Read one pickle, of any protocol, and leave the stream behind it.

    Args:
        stream: where the pickle starts. Its `read` must not make room for more than there is.
        size: bytes of the pickle, or of the file that it is a part of; limits follow from it.
        vocabulary: what it may name.
        persistent: gives the value of a persistent id, as torch's files have them.

    Returns:
        What was pickled.

    Raises:
        pickle.UnpicklingError: it is damaged, beyond the limits, or asks for what is refused.
    """
    machine = _Machine(vocabulary, persistent, _SLACK + _COPIED_PER_BYTE * size)
    try:
        value = machine.run(stream)
        check_extent(value)
    # A wrong value in any place fails in its own way, and it all means the same to the user.
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        raise refusal(f"it is damaged ({type(e).__name__}: {printable(e)})") from e
    return value


@dataclass
class _Machine:
    vocabulary: Vocabulary
    persistent: Function | None
    allowance: int  # bytes and items that calls may still be given
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    places: dict[int, list[int]] = field(default_factory=dict)  # of unfinished values in the memo
    kinds: dict[tuple[str, str], type[Placeholder]] = field(default_factory=dict)

    def run(self, stream: BinaryIO) -> Any:  # noqa: ANN401
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count == MAX_INSTRUCTIONS:
                raise refusal(f"it has more than {count} instructions")
            self._step(opcode.name, argument)
        return self.stack.pop()

    def _step(self, name: str, argument: Any) -> None:  # noqa: ANN401
        push = self.stack.append
        if name in _LITERALS:
            push(argument)
        elif name in _PUTS:
            self._put(len(self.memo) if argument is None else argument)
        elif name in _GETS:
            push(self.memo[argument])
        elif name in _CONSTANTS:
            push(_CONSTANTS[name])
        elif name in _EMPTY:
            push(_EMPTY[name]())
        elif name in _TUPLES:
            push(tuple(self._last(_TUPLES[name])))
        elif name in _PYTHON_2_STRINGS:
            push(argument if argument.isascii() else argument.encode("latin-1"))
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name not in _SILENT:
            step = getattr(self, f"_do_{name.lower()}", None)
            if step is None:
                raise refusal(f"it holds a pickle instruction {name}")
            step(argument)

    def _last(self, count: int) -> list[Any]:
        items = self.stack[-count:]
        if len(items) != count:
            raise refusal("it is damaged: a value is missing")
        del self.stack[-count:]
        return items

    def _marked(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _put(self, index: int) -> None:
        value = self.stack[-1]
        self.memo[index] = value
        if isinstance(value, Unfinished):
            self.places.setdefault(id(value), []).append(index)

    # Stack and containers

    def _do_pop(self, _: object) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def _do_pop_mark(self, _: object) -> None:
        self._marked()

    def _do_dup(self, _: object) -> None:
        self.stack.append(self.stack[-1])

    def _do_tuple(self, _: object) -> None:
        self.stack.append(tuple(self._marked()))

    def _do_list(self, _: object) -> None:
        self.stack.append(self._marked())

    def _do_dict(self, _: object) -> None:
        items = self._marked()
        self.stack.append({})
        self._set_items(items)

    def _do_frozenset(self, _: object) -> None:
        self.stack.append(frozenset(map(checked_key, self._marked())))

    def _do_append(self, _: object) -> None:
        self._extend(self._last(1))

    def _do_appends(self, _: object) -> None:
        self._extend(self._marked())

    def _do_setitem(self, _: object) -> None:
        self._set_items(self._last(2))

    def _do_setitems(self, _: object) -> None:
        self._set_items(self._marked())

    def _do_additems(self, _: object) -> None:
        items = self._marked()
        target = self._container(set)
        if target is not None:
            target.update(map(checked_key, items))

    def _extend(self, items: list[Any]) -> None:
        target = self._container(list, deque)
        if target is not None:
            target.extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._container(dict)
        if target is not None:
            for key, value in zip(items[::2], items[1::2], strict=True):
                target[checked_key(key)] = value

    def _container(self, *kinds: type) -> Any:  # noqa: ANN401
        """What items are for; None if it is a placeholder, which drops them."""
        target = self.stack[-1]
        if isinstance(target, Placeholder):
            return None
        if not isinstance(target, kinds):
            raise refusal(f"it gives items to a {type(target).__name__}")
        return target

    # Names and calls

    def _do_global(self, argument: str) -> None:
        self.stack.append(self._find(*argument.split(" ", 1)))

    def _do_stack_global(self, _: object) -> None:
        self.stack.append(self._find(*self._last(2)))

    def _find(self, module: str, name: str) -> object:
        module = "builtins" if module == "__builtin__" else module  # of Python 2
        named = (module, name)
        if named in self.vocabulary.values:
            return self.vocabulary.values[named]
        if not module.startswith(self.vocabulary.placeholders):
            raise refusal(f"it asks for {printable(module)}.{printable(name)}, which is refused")
        if named not in self.kinds:
            if len(self.kinds) == _MAX_PLACEHOLDER_KINDS:
                raise refusal(f"it names more than {_MAX_PLACEHOLDER_KINDS} kinds of objects")
            kind = printable(name.rpartition(".")[2])
            self.kinds[named] = type(kind, (Placeholder,), {"__module__": printable(module)})
        return self.kinds[named]

    def _do_reduce(self, _: object) -> None:
        self._call(*self._last(2))

    _do_newobj = _do_reduce

    def _do_newobj_ex(self, _: object) -> None:
        function, arguments, named = self._last(3)
        if named and not _is_placeholder(function):
            raise refusal("it calls with arguments by name")
        self._call(function, arguments)

    def _do_obj(self, _: object) -> None:
        function, *arguments = self._marked()
        self._call(function, tuple(arguments))

    def _do_inst(self, argument: str) -> None:
        arguments = tuple(self._marked())
        self._call(self._find(*argument.split(" ", 1)), arguments)

    def _call(self, function: Any, arguments: tuple) -> None:  # noqa: ANN401
        if _is_placeholder(function):
            self.stack.append(function())
            return
        call = self.vocabulary.calls.get(function) if callable(function) else None
        if call is None or not isinstance(arguments, tuple):
            called = getattr(function, "__name__", type(function).__name__)
            raise refusal(f"it calls {printable(called)}, which is refused")
        self._charge(arguments)
        self.stack.append(call(*arguments))

    def _charge(self, values: tuple) -> None:
        self.allowance -= sum(len(value) for value in values if isinstance(value, _SIZED))
        if self.allowance < 0:
            raise refusal("it unpacks to far more than its size")

    def _do_build(self, _: object) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Placeholder):
            self._charge((state,))
            Placeholder.keep(target, state)  # not target.keep, which may be an attribute of it
        elif isinstance(target, Unfinished):
            self._charge(state if isinstance(state, tuple) else ())
            self.stack[-1] = target.finish(state)
            for index in self.places.pop(id(target), ()):
                self.memo[index] = self.stack[-1]
        elif not isinstance(target, dict):  # an OrderedDict's tell the versions of modules alone
            raise refusal(f"it sets attributes of a {type(target).__name__}")

    def _do_binpersid(self, _: object) -> None:
        if self.persistent is None:
            raise refusal("it refers to something outside of it")
        self.stack.append(self.persistent(self.stack.pop()))


def _is_placeholder(function: object) -> bool:
    return isinstance(function, type) and issubclass(function, Placeholder)
