"""The protocol of a run, in words that docs/published.csv has too."""

from __future__ import annotations

from yacs.config import CfgNode

__all__ = ["protocol"]


def protocol(cfg: CfgNode, epoch: int | None) -> str:
    """What a run's training saw: "zero-shot", "partial 10%", "text-only training", "full labels".

    A choice of classes (DATASET.CLASS_SPLIT) is named before it.

    Args:
        cfg: the run's config; keys of data sets of other projects may be absent.
        epoch: epochs of training behind the weights; None if unknown.
    """
    classes = cfg.DATASET.get("CLASS_SPLIT", "")
    return f"{classes} {_seen(cfg, epoch)}" if classes else _seen(cfg, epoch)


def _seen(cfg: CfgNode, epoch: int | None) -> str:
    settings = cfg.DATASET
    if epoch == 0:
        return "zero-shot"
    if settings.get("TEXT_AS_IMAGE", False):
        return "text-only training"
    if settings.NUM_SHOTS > 0:
        return f"{settings.NUM_SHOTS} shots"
    share = settings.get("LABEL_PROPORTION", 1.0)
    return "full labels" if share == 1 else f"partial {100 * share:g}%"
