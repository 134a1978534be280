"""What is known of a run: where it comes from, its weights, and the time it has taken so far."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from yacs.config import CfgNode


class RunRecord:
    """What checkpoints and results say of a run beside weights and figures.

    Its wall-clock seconds are those of all processes that it took.

    Args:
        selection: TEST.FINAL_MODEL.

    Attributes:
        origin: where the run comes from, of `origin_of`; empty if nothing is trained.
        epoch: epochs of training behind the weights at hand.
        selection: how these were chosen.
        trains: whether this process trains, and not only evaluates.
        training: seconds of its epochs.
    """

    def __init__(self, selection: str) -> None:
        self._born = time.time()
        self._earlier: Mapping[str, Any] = {}
        self.origin: Mapping[str, Any] = {}
        self.epoch, self.selection = 0, selection
        self.trains, self.training = False, 0.0

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

    def of_weights(self, caching: float) -> dict[str, Any]:
        """What `RunReport.write` says of the weights at hand; `caching` as of `spent`."""
        weights = {"epoch": self.epoch, "selection": self.selection, "evaluation": not self.trains}
        return {**weights, **self.spent(caching)}


def origin_of(
    cfg: CfgNode, options: CfgNode, clip_digest: str, classnames: Sequence[str], per_class: bool
) -> dict[str, Any]:
    """Where a checkpoint comes from, in plain values; `check_origin` compares two of them.

    Args:
        cfg: the run's config.
        options: the method's own node of it.
        clip_digest: SHA-256 of CLIP's weights.
        classnames: C names.
        per_class: whether what is learnt has a part for each class, whatever the options.
    """
    return {
        "trainer": cfg.TRAINER.NAME,
        "backbone": cfg.MODEL.BACKBONE.NAME,
        "clip": clip_digest,
        "classnames": list(classnames),
        "class_specific": per_class or bool(options.get("CSC", False)),
        "options": _plain(options),
        "selection": cfg.TEST.FINAL_MODEL,
        "max_epoch": cfg.OPTIM.MAX_EPOCH,
    }


def _plain(value: object) -> object:
    """A config value as a checkpoint keeps it: nodes as dicts, tuples as lists."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
