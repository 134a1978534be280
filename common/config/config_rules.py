"""What values config keys may have: one rule a key, declared beside the key, asked before any work.

A module that declares keys in its `extend_cfg` gives their rules to `declare_rules`; `check_values`
compares a config with all that are known and names every key that breaks its own.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from common import choices
from common.config.config_values import flatten

_RULES: dict[str, Rule] = {}


class Rule:
    """What a value must be; its text ends the sentence "KEY must be ..."."""

    def allows(self, value: object) -> bool:
        """Whether a value keeps it."""
        raise NotImplementedError

    def hint(self, value: object) -> str:
        """What may have been meant by one that does not: " Did you mean 'mean'?", or nothing."""
        return ""


@dataclass(frozen=True)
class Number(Rule):
    """A finite number between bounds.

    Args:
        least: lower bound, itself allowed.
        most: upper bound, itself allowed.
        above: lower bound, itself refused.
        below: upper bound, itself refused.
        also: values outside the bounds that have a meaning of their own, such as -1 for "none".
        odd: only odd numbers.
        whole: only integers.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    also: tuple[float, ...] = ()
    odd: bool = False
    whole: bool = False

    def allows(self, value: object) -> bool:
        """Whether it is such a number."""
        if not _is_number(value) or not math.isfinite(value):
            return False
        return value in self.also or (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (not self.odd or value % 2 == 1)
            and (not self.whole or value % 1 == 0)
        )

    def hint(self, value: object) -> str:
        """That infinity is none."""
        return " Numbers must be finite." if _is_number(value) and not math.isfinite(value) else ""

    def __str__(self) -> str:
        low, high = (
            self.least if self.above is None else self.above,
            self.most if self.below is None else self.below,
        )
        if low is None and high is None:
            text = "a number"
        elif low is None or high is None:
            ends = ("{} or more", self.least), ("above {}", self.above)
            ends += ("{} or less", self.most), ("below {}", self.below)
            text = next(words.format(end) for words, end in ends if end is not None)
        else:
            left, right = "[" if self.above is None else "(", "]" if self.below is None else ")"
            text = f"in {left}{low}, {high}{right}"
        text += " and odd" if self.odd else " and whole" if self.whole else ""
        return ", or ".join([text, *map(str, self.also)])


@dataclass(frozen=True)
class Choice(Rule):
    """One of several words.

    Args:
        words: those.
        why: a sentence on why no others.
    """

    words: Collection[str]
    why: str = ""

    def allows(self, value: object) -> bool:
        """Whether it is one of them."""
        return isinstance(value, str) and value in self.words

    def hint(self, value: object) -> str:
        """The nearest one, and why no others."""
        return choices.hint(value, self.words) + (f" {self.why}" if self.why else "")

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}"


@dataclass(frozen=True)
class Each(Rule):
    """A list whose every entry keeps a rule.

    Args:
        rule: of the entries.
        size: their number; None: any.
    """

    rule: Rule
    size: int | None = None

    def allows(self, value: object) -> bool:
        """Whether it is such a list."""
        return (
            isinstance(value, (list, tuple))
            and (self.size is None or len(value) == self.size)
            and all(map(self.rule.allows, value))
        )

    def hint(self, value: object) -> str:
        """The list that repeats a lone entry, or what is said of the first wrong one."""
        wrong = [entry for entry in value if not self.rule.allows(entry)]
        if not wrong and self.size and len(value) == 1:
            return f" Did you mean {tuple(value) * self.size}?"
        return self.rule.hint(wrong[0]) if wrong else ""

    def __str__(self) -> str:
        return f"{self.size or 'any number of'} values, each {self.rule}"


@dataclass(frozen=True)
class OrNone(Rule):
    """None, or what another rule allows."""

    rule: Rule

    def allows(self, value: object) -> bool:
        """Whether it is."""
        return value is None or self.rule.allows(value)

    def hint(self, value: object) -> str:
        """The other rule's."""
        return self.rule.hint(value)

    def __str__(self) -> str:
        return str(self.rule)


def declare_rules(node: str, rules: Mapping[str, Rule]) -> None:
    """Make rules known.

    Args:
        node: where the keys lie, as in "OPTIM", or "" at the top; "TRAINER.*" stands for the node
            of every method of ours, and of others that build on ours.
        rules: of keys below it, dotted where they lie deeper, as in "DENSE.VIT".
    """
    prefix = f"{node}." if node else ""
    _RULES.update({prefix + key: rule for key, rule in rules.items()})


def withdraw_rules(node: str) -> None:
    """Forget the rules of all keys below a node, as in "TRAINER.LOSS.FOCAL"."""
    for key in [key for key in _RULES if key.startswith(f"{node}.")]:
        del _RULES[key]


def rule_of(key: str, methods: Iterable[str] = ()) -> Rule | None:
    """The rule of a key, if it has one.

    Args:
        key: dotted.
        methods: nodes below TRAINER for which the rules of "TRAINER.*" hold.
    """
    if key in _RULES:
        return _RULES[key]
    top, node, name = [*key.split(".", 2), "", ""][:3]
    return _RULES.get(f"{top}.*.{name}") if node in methods else None


def check_values(cfg: Mapping[str, object], at: str = "", methods: Iterable[str] = ()) -> None:
    """Refuse values that break the rule of their key; keys without a rule pass.

    Args:
        cfg: a config, or one of its nodes.
        at: where the node lies, as in "DATASET".
        methods: see `rule_of`.

    Raises:
        ValueError: every such key, with its rule and value, on a line of its own.
    """
    broken = list(_broken(cfg, f"{at}." if at else "", set(methods)))
    if len(broken) == 1:
        raise ValueError(broken[0])
    if broken:
        raise ValueError("\n  ".join([f"{len(broken)} values cannot be used:", *broken]))


def _broken(cfg: Mapping[str, object], prefix: str, methods: set[str]) -> Iterator[str]:
    for key, value in flatten(cfg, prefix):
        rule = rule_of(key, methods)
        if rule is not None and not rule.allows(value):
            yield f"{key} must be {rule}, got {value!r}.{rule.hint(value)}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
