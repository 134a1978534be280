"""Names to classes: how trainers, data sets and evaluators are found."""

from __future__ import annotations

from collections.abc import Callable

from .tools import check_availability

Entry = Callable[..., object]  # a class or a function
Decorator = Callable[[Entry], Entry]


class Registry:
    """Objects under their own `__name__`.

    Args:
        name: what the objects are, in capitals ("TRAINER"); used in messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._objects: dict[str, Entry] = {}

    def register(self, obj: Entry | None = None, force: bool = False) -> Decorator | None:
        """Add `obj`, or without it return a class decorator that adds the class.

        Args:
            obj: class or function.
            force: replace an object of the same name.

        Raises:
            KeyError: the name is taken and `force` is False.
        """
        if obj is not None:
            self._add(obj, force)
            return None

        def decorator(decorated: Entry) -> Entry:
            self._add(decorated, force)
            return decorated

        return decorator

    def _add(self, obj: Entry, force: bool) -> None:
        name = obj.__name__
        if name in self._objects and not force:
            raise KeyError(
                f'An object named "{name}" was already registered in "{self._name}" registry'
            )
        self._objects[name] = obj

    def get(self, name: str) -> Entry:
        """The object of that name.

        Raises:
            KeyError: there is none.
        """
        if name not in self._objects:
            raise KeyError(f'Object name "{name}" does not exist in "{self._name}" registry')
        return self._objects[name]

    def registered_names(self) -> list[str]:
        """All names, in order of registration."""
        return list(self._objects)

    def build(self, name: str, verbose: bool, *args: object, **kwargs: object) -> object:
        """Construct the object called `name`, which usually comes from a config.

        Raises:
            ValueError: there is none; the message gives the nearest name.
        """
        check_availability(name, self.registered_names())
        if verbose:
            print(f"Loading {self._name.lower()}: {name}")
        return self.get(name)(*args, **kwargs)
