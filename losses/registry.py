"""How a loss makes itself known: its names, its options as config keys, and their rules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial

from torch import Tensor

from common.choices import hint
from common.config.config_rules import Rule, declare_rules, withdraw_rules

Loss = Callable[..., Tensor]

LOSSES: dict[str, partial[Tensor]] = {}  # by the name that TRAINER.LOSS.NAME knows
NODES: dict[str, str] = {}  # loss to the node of TRAINER.LOSS that holds its options
DEFAULTS: dict[str, dict[str, object]] = {}  # node to its keys and their defaults
GIVEN = ("logits", "targets", "class_counts", "num_train")  # arguments that are no options


def register_loss(
    names: str | Mapping[str, Mapping[str, object]],
    options: Mapping[str, Rule | None] | None = None,
    node: str | None = None,
) -> Callable[[Loss], Loss]:
    """Return a decorator that makes a loss function selectable by `TRAINER.LOSS.NAME`.

    Args:
        names: its name; or several names of it, each with the arguments that it fixes.
        options: keys below `TRAINER.LOSS.<node>`, which are arguments in capitals, and the rule of
            their values; None where the type alone decides. The function's defaults are theirs.
        node: where the options lie; the (first) name in capitals by default.

    Raises:
        ValueError: a name or node that another function has, an option or a fixed argument that the
            function lacks, a default that breaks its rule, or an argument that nobody would give.
    """
    fixed = {names: {}} if isinstance(names, str) else names
    options, node = options or {}, node or next(iter(fixed)).upper()
    if node == "NAME":
        raise ValueError("TRAINER.LOSS.NAME is the key of the loss itself: pass another node=...")

    def register(function: Loss) -> Loss:
        arguments = _optional_arguments(function)
        words = [key.lower() for key in options] + [word for own in fixed.values() for word in own]
        _refuse_unknown(words, arguments, function)
        for name in fixed:
            _refuse_taken(f"loss name {name!r}", LOSSES.get(name), function)
        if options:
            holders = (LOSSES[name] for name, place in NODES.items() if place == node)
            _refuse_taken(f"node {node}", next(holders, None), function)
            _declare(node, options, {key: arguments[key.lower()] for key in options})
            NODES.update(dict.fromkeys(fixed, node))
        LOSSES.update({name: partial(function, **own) for name, own in fixed.items()})
        return function

    return register


def forget_losses(module: str) -> None:
    """Take back what a module registered, as one that breaks later on may have."""
    for name in [name for name, loss in LOSSES.items() if loss.func.__module__ == module]:
        del LOSSES[name]
        node = NODES.pop(name, None)
        if DEFAULTS.pop(node, None):
            withdraw_rules(f"TRAINER.LOSS.{node}")


def _optional_arguments(function: Loss) -> dict[str, object]:
    """Arguments that are not given to every loss, and their defaults."""
    parameters = inspect.signature(function).parameters
    arguments = {name: p.default for name, p in parameters.items() if name not in GIVEN}
    for name, default in arguments.items():
        if default is inspect.Parameter.empty:
            raise ValueError(
                f"argument {name!r} of {function.__name__} needs a default: a loss is given "
                f"{', '.join(GIVEN)}, as far as it takes them, and its options."
            )
    return arguments


def _refuse_unknown(words: Iterable[str], arguments: Collection[str], function: Loss) -> None:
    for word in words:
        if word not in arguments:
            raise ValueError(
                f"{function.__name__} has no argument {word!r} with a default, only "
                f"{', '.join(arguments) or 'none'}.{hint(word, arguments)}"
            )


def _refuse_taken(what: str, holder: partial[Tensor] | None, function: Loss) -> None:
    """Refuse what another function holds; the same one may come again, when it is reloaded."""
    if holder is None:
        return
    place, own = ((f.__module__, f.__qualname__) for f in (holder.func, function))
    if place != own:
        raise ValueError(f"{what} is taken by {'.'.join(place)}; choose another one.")


def _declare(node: str, rules: Mapping[str, Rule | None], defaults: Mapping[str, object]) -> None:
    for key, rule in rules.items():
        if rule is not None and not rule.allows(defaults[key]):
            raise ValueError(f"the default of {key} must be {rule}, got {defaults[key]!r}.")
    DEFAULTS[node] = dict(defaults)
    known = {f"{node}.{key}": rule for key, rule in rules.items() if rule is not None}
    declare_rules("TRAINER.LOSS", known)
