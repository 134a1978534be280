"""What a sweep tries of a method: config keys, and the values that each may take.

configs/sweeps/<Trainer>.yaml maps a key to

    [asl, bce]                          one of several values
    {low: 0.0, high: 1.0}               a number in a range; `log: True`: evenly in its logarithm
    {times: [0.1, 10]}                  likewise, from 0.1 to 10 times the recommended value

A range between whole numbers, for a key that takes them, has whole numbers alone. The recommended
recipe's own value must be among a key's values, for it is the first setting that is tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from yacs.config import CfgNode

from common.choices import check_choice
from common.config.config_rules import rule_of
from common.config.config_values import flatten
from common.config.recipes import CONFIGS
from common.readers.yaml_files import read_yaml

if TYPE_CHECKING:
    from optuna.trial import Trial

SPACES = CONFIGS / "sweeps"

_DIGITS = 4  # of a number that is tried, as people write them
_FORMS = "[value, value], {low: number, high: number} (log: True) or {times: [0.1, 10]}"

Value = bool | int | float | str


@dataclass(frozen=True)
class Options:
    """One of several values."""

    values: tuple[Value, ...]

    def holds(self, value: object) -> bool:
        """Whether it is one of them."""
        return any(value == own and isinstance(value, type(own)) for own in self.values)

    def ends(self) -> Iterable[Value]:
        """The values that a rule of the key must allow."""
        return self.values

    def suggest(self, trial: Trial, key: str) -> Value:
        """The trial's value."""
        return trial.suggest_categorical(key, self.values)

    def __str__(self) -> str:
        return f"one of {', '.join(map(repr, self.values))}"


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, evenly or evenly in its logarithm."""

    low: float
    high: float
    log: bool = False

    def holds(self, value: object) -> bool:
        """Whether it is such a number."""
        return _is_number(value) and self.low <= value <= self.high

    def ends(self) -> Iterable[Value]:
        """The values that a rule of the key must allow."""
        return self.low, self.high

    def suggest(self, trial: Trial, key: str) -> Value:
        """The trial's value."""
        if isinstance(self.low, int):
            return trial.suggest_int(key, self.low, self.high, log=self.log)
        number = trial.suggest_float(key, self.low, self.high, log=self.log)
        return float(f"{number:.{_DIGITS}g}")

    def __str__(self) -> str:
        return f"from {self.low:g} to {self.high:g}{' (log)' * self.log}"


Space = dict[str, Options | Range]


def read_space(trainer: str, recipe: CfgNode, folder: Path = SPACES) -> Space:
    """What is tried of a method.

    Args:
        trainer: as registered.
        recipe: the config of its recommended recipe.
        folder: of the yaml files.

    Returns:
        Config keys, each with its values.

    Raises:
        ValueError: the file names an unknown key or values that break its rule, or leaves out the
            recipe's own.
        FileNotFoundError: there is no file for the method.
    """
    path = folder / f"{trainer}.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"{trainer} has no search space: {path} is not there. docs/comparison.md shows one."
        )
    own, entries = dict(flatten(recipe)), read_yaml(path)
    if not entries:
        raise ValueError(f"{path} names no key to try values of.")
    for key in entries:
        check_choice(f"{path}: a key", key, own)
    space = {key: _read(f"{path}, {key}", entries[key], own[key]) for key in entries}
    for key, values in space.items():
        _check(f"{path}, {key}", key, values, own[key], trainer)
    return space


def _read(place: str, entry: object, recommended: object) -> Options | Range:
    """What one entry of the file means.

    Args:
        place: the file and the key, for messages.
        entry: what the file says.
        recommended: the recipe's value.
    """
    if isinstance(entry, list) and entry and all(isinstance(value, Value) for value in entry):
        floats = isinstance(recommended, float)
        return Options(tuple(float(v) if floats and type(v) is int else v for v in entry))
    keys = set(entry) if isinstance(entry, Mapping) else set()
    if {"low", "high"} <= keys <= {"low", "high", "log"}:
        low, high, log = entry["low"], entry["high"], entry.get("log", False)
    elif keys == {"times"} and _is_number(recommended) and isinstance(entry["times"], list):
        low, high = [_times(factor, recommended) for factor in [*entry["times"], None, None][:2]]
        log = True
    else:
        raise ValueError(f"{place} ({recommended!r}): expected {_FORMS}, got {entry!r}.")
    if not _is_number(low) or not _is_number(high) or low >= high or not isinstance(log, bool):
        raise ValueError(f"{place}: expected a number below another one, got {entry!r}.")
    if log and low <= 0:
        raise ValueError(f"{place}: a range over magnitudes must begin above 0, got {low!r}.")
    if type(recommended) is int:
        return Range(max(round(low), 1) if log else round(low), round(high), log)
    return Range(float(low), float(high), log)


def _times(factor: object, number: float) -> float | None:
    return factor * number if _is_number(factor) else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check(
    place: str, key: str, values: Options | Range, recommended: object, trainer: str
) -> None:
    rule = rule_of(key, methods=[trainer.upper()])
    for value in values.ends():
        if rule is not None and not rule.allows(value):
            raise ValueError(f"{place} must be {rule}, got {value!r}.{rule.hint(value)}")
    if not values.holds(recommended):
        raise ValueError(
            f"{place}: the recommended recipe has {recommended!r}, which is not {values}. It is "
            "the first setting that is tried, so add it."
        )
