"""What a pickle may name and call, and the plain values that every kind of pickle may hold."""

from __future__ import annotations

import pickle
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_MAX_KEY_TUPLE, _MAX_KEY_BITS = 4, 64
_SHOWN = 100  # characters of a text from a file in a message

Function = Callable[..., Any]


class Placeholder:
    """Stands for a pickled object that is not rebuilt: keeps its attributes, runs nothing."""

    def keep(self, state: object) -> None:
        """Keep the attributes of the original; a state that is not a dict is dropped."""
        if isinstance(state, dict):
            vars(self).update({key: item for key, item in state.items() if isinstance(key, str)})


class Unfinished:
    """A value whose contents the pickle gives after it was made."""

    def finish(self, state: object) -> object:
        """Make the value that takes the place of this one."""
        raise NotImplementedError


@dataclass(frozen=True)
class Vocabulary:
    """What a kind of pickle may name and call.

    Attributes:
        values: (module, name) to what the name means: a type, a function or a constant.
        calls: the callable ones among these values to the function that is called in their place.
            It is given the pickle's arguments, and must check them and take time and memory in
            proportion to them. Values without one cannot be called.
        placeholders: starts of the modules whose other names stand for `Placeholder` classes; names
            of other modules are refused. ("",) is all modules.
    """

    values: Mapping[tuple[str, str], object]
    calls: Mapping[Any, Function]
    placeholders: tuple[str, ...] = ()

    def plus(self, other: Vocabulary) -> Vocabulary:
        """Both vocabularies as one."""
        return Vocabulary(
            {**self.values, **other.values},
            {**self.calls, **other.calls},
            (*self.placeholders, *other.placeholders),
        )


def refusal(reason: str) -> pickle.UnpicklingError:
    """The error of a pickle that is damaged or asks for too much."""
    return pickle.UnpicklingError(reason)


def printable(text: object) -> str:
    """A text from a file, fit for a message: one line, ASCII, not long."""
    return ascii(str(text)[:_SHOWN])[1:-1][:_SHOWN]


def checked_key(key: object, parts: bool = True) -> Any:  # noqa: ANN401
    """A key of a dict, or an item of a set, that comes from a file.

    Raises:
        pickle.UnpicklingError: it takes long to hash, or to tell from others of the same hash.
    """
    if parts and isinstance(key, tuple) and len(key) <= _MAX_KEY_TUPLE:
        for part in key:
            checked_key(part, parts=False)
    elif isinstance(key, (tuple, frozenset)):
        raise refusal("a key is a long or nested tuple, or a set")
    elif isinstance(key, int) and key.bit_length() > _MAX_KEY_BITS:
        raise refusal("a key is a number of more than 64 bits")
    return key


def encode(text: str, encoding: str) -> bytes:
    """Stand for `_codecs.encode`, the way in which old pickles spell bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise refusal(f"encoding {printable(encoding)} is refused")
    return text.encode("latin-1")


def _bytes(kind: type) -> Function:
    def make(content: bytes | bytearray | str = b"", encoding: str = "") -> bytes | bytearray:
        if isinstance(content, str):
            content = encode(content, encoding)
        if not isinstance(content, (bytes, bytearray)):
            raise refusal(f"{kind.__name__}() of a {type(content).__name__} is refused")
        return kind(content)

    return make


def _copy(kind: type) -> Function:
    def make(items: list | tuple = ()) -> Any:  # noqa: ANN401
        if not isinstance(items, (list, tuple)):
            raise refusal(f"{kind.__name__}() of a {type(items).__name__} is refused")
        hashed = kind in (set, frozenset)
        return kind(map(checked_key, items)) if hashed else kind(items)

    return make


def _fill(made: dict, items: dict | list | tuple) -> Any:  # noqa: ANN401
    for key, value in items.items() if isinstance(items, dict) else items:
        made[checked_key(key)] = value
    return made


def _dict(kind: type[dict]) -> Function:
    return lambda items=(): _fill(kind(), items)


def _defaultdict(factory: type | None = None, items: dict | tuple = ()) -> defaultdict:
    if factory is not None and factory not in _FACTORIES:
        raise refusal("a defaultdict of another kind than numbers, texts and containers")
    return _fill(defaultdict(factory), items)


def _deque(items: list | tuple = (), longest: int | None = None) -> deque:
    return deque(_copy(list)(items), longest)


def _complex(real: float, imaginary: float = 0.0) -> complex:
    return complex(float(real), float(imaginary))


_COPIED: dict[Any, Function] = {kind: _copy(kind) for kind in (list, tuple, set, frozenset)}
_COPIED |= {kind: _bytes(kind) for kind in (bytes, bytearray)}
_COPIED |= {kind: _dict(kind) for kind in (dict, OrderedDict, Counter)}
_FACTORIES = {*_COPIED, int, float, str, bool, complex}
_BUILTINS = [kind for kind in _FACTORIES if kind.__module__ == "builtins"]

PLAIN = Vocabulary(
    {
        **{("builtins", kind.__name__): kind for kind in _BUILTINS},
        **{("collections", kind.__name__): kind for kind in (Counter, OrderedDict, defaultdict)},
        ("collections", "deque"): deque,
        ("_codecs", "encode"): encode,
    },
    {
        **_COPIED,
        defaultdict: _defaultdict,
        deque: _deque,
        complex: _complex,
        encode: encode,
    },
)
