"""Results as results.json has them."""

from __future__ import annotations

from typing import Any


def make_result(trainer: str = "LMPT", seed: int = 1, **changes: Any) -> dict[str, Any]:
    """A run on VOC-LT; what a test looks at is in its changes."""
    facts = {
        "trainer": trainer,
        "dataset": "VOCLT",
        "backbone": "RN50",
        "seed": seed,
        "split": "test",
        "score": "softmax",
        "selection": "last_step",
    }
    return facts | changes
