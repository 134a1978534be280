"""Config keys and values as earlier versions spelled them, and how they are written now."""

from __future__ import annotations

import re

_SCALE = re.compile(r"TRAINER\.\w+\.(LOGIT|REGION)_SCALE")
_FORMER = re.compile(r"clip|learnt|learnt:(?P<start>.+)")

_RENAMED = {
    "TRAINER.DUALCOOPPP.WTA": "TRAINER.DUALCOOPPP.WINNER_TAKES_ALL",
    "TRAINER.PVLR.CAP": "TRAINER.PVLR.CONTEXT_SIDE",
    "TRAINER.PVLR.DMA": "TRAINER.PVLR.CROSS_ATTENTION",
}
_GONE = {  # keys that are no more, and what takes their place
    f"TRAINER.LMPT.CSE.{name}": "it belongs to the preset; set TRAINER.LMPT.PRESET"
    for name in ("SIGN", "PROMPT_TOKENS", "CAPTION_TOKENS", "REDUCE_POS", "COUNTS", "REDUCTION")
}
_TRUTH_VALUES = {"TEST.SAVE_SCORES": {"True": "all", "False": "off"}}  # of keys that are words now

_OFFSET = re.compile(r"(TRAINER\.\w+)\.LOGIT_BIAS")


def gone(key: str) -> str:
    """What takes the place of a key that earlier versions had; nothing for other keys."""
    if renamed(key) != key:
        return f"it is {renamed(key)} now"
    return _GONE.get(key, "")


def renamed(key: str) -> str:
    """Today's name of a key that a run of an earlier version may have in its config."""
    return _RENAMED.get(key) or _OFFSET.sub(r"\1.COSINE_OFFSET", key)


def in_words(key: str, value: object) -> object:
    """The word that a truth value stands for where a key takes words now; others as they are.

    Args:
        key: dotted.
        value: what it was set to, in a yaml file or on the command line.
    """
    return _TRUTH_VALUES.get(key, {}).get(str(value), value)


def advice(key: str, value: object) -> str:
    """How a value in its former spelling is written today: " Write ...", or nothing.

    Scales were text once: "clip" for CLIP's own, a number, "learnt", or "learnt:20" from 20.

    Args:
        key: dotted, as in "TRAINER.COOP.LOGIT_SCALE".
        value: what it was set to.
    """
    scale = _SCALE.fullmatch(key)
    former = _FORMER.fullmatch(value) if isinstance(value, str) else None
    if scale is None or former is None:
        return ""
    own = "0" if scale[1] == "LOGIT" else "100"  # CLIP's own, which is 100 in all that are released
    pairs = [(key, former["start"] or own)]
    if value != "clip":
        pairs.append((f"{key}_LEARNABLE", "True"))
    return f" Write: {' '.join(f'{k} {v}' for k, v in pairs)}"
