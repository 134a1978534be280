"""What a checkpoint says of its run: where it comes from, and the time it has taken so far."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from yacs.config import CfgNode


class RunClock:
    """Wall-clock seconds of a run and of its parts, over all processes that it took."""

    def __init__(self) -> None:
        self._born = time.time()
        self._earlier: Mapping[str, Any] = {}
        self.training = 0.0

    def continue_from(self, run: Mapping[str, Any]) -> None:
        """Count in what a checkpoint says that earlier processes took."""
        self._earlier = run

    def spent(self, caching: float) -> dict[str, Any]:
        """Seconds so far, in all ("seconds") and of parts ("seconds_spent").

        Args:
            caching: seconds in which this process made or loaded caches.
        """
        earlier = self._earlier.get("seconds_spent", {})
        parts = {"caching": caching, "training": self.training}
        return {
            "seconds": time.time() - self._born + self._earlier.get("seconds", 0.0),
            "seconds_spent": {name: s + earlier.get(name, 0.0) for name, s in parts.items()},
        }


def origin_of(
    cfg: CfgNode, options: CfgNode, clip_digest: str, classnames: Sequence[str], per_class: bool
) -> dict[str, Any]:
    """Where a checkpoint comes from, in plain values; `check_origin` compares two of them.

    Args:
        cfg: the run's config.
        options: the method's own node of it.
        clip_digest: SHA-256 of CLIP's weights.
        classnames: C names.
        per_class: whether what is learnt has a part for each class.
    """
    return {
        "trainer": cfg.TRAINER.NAME,
        "backbone": cfg.MODEL.BACKBONE.NAME,
        "clip": clip_digest,
        "classnames": list(classnames),
        "class_specific": per_class,
        "options": _plain(options),
        "selection": cfg.TEST.FINAL_MODEL,
        "max_epoch": cfg.OPTIM.MAX_EPOCH,
    }


def _plain(value: object) -> object:
    """A config value as a checkpoint keeps it: nodes as dicts, tuples as lists."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
