"""The protocol of a run, in words that docs/published.csv has too."""

from __future__ import annotations

from yacs.config import CfgNode

__all__ = ["protocol"]

# What else settles which labels and images count, as DATASET's keys have it.
_RULES = {
    ("DIFFICULT", "ignore"): "difficult-only ignored",
    ("DIFFICULT", "positive"): "difficult positive",
    ("UNLABELED", "drop"): "images with labels",
    ("VARIANT", "asl"): "119103/50720 split",
}


def protocol(cfg: CfgNode, epoch: int | None) -> str:
    """What a run's training saw: "zero-shot", "partial 10%", "text-only training", "full labels".

    A choice of classes (DATASET.CLASS_SPLIT) is named before it, rules on labels and images that
    are not the default follow it: "partial 10%, images with labels".

    Args:
        cfg: the run's config; keys of data sets of other projects may be absent.
        epoch: epochs of training behind the weights; None if unknown.
    """
    settings = cfg.DATASET
    rules = [words for (key, value), words in _RULES.items() if settings.get(key) == value]
    classes = settings.get("CLASS_SPLIT", "")
    seen = f"{classes} {_seen(cfg, epoch)}" if classes else _seen(cfg, epoch)
    return ", ".join([seen, *rules])


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
