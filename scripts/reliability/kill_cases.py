"""The runs that are killed: what is trained, how, and from which start."""

from __future__ import annotations

from dataclasses import dataclass

_HELD_OUT = ("DATASET.VAL_FRACTION", "0.3")
_PLATEAU = (
    *(*_HELD_OUT, "OPTIM.LR_SCHEDULER", "plateau", "OPTIM.WARMUP_EPOCH", "0", "OPTIM.LR", "1e-6"),
    *("OPTIM.PATIENCE", "0", "OPTIM.GAMMA", "0.5", "TRAIN.CHECKPOINT_FREQ", "2"),
)


@dataclass(frozen=True)
class Case:
    """A run to disturb.

    Args:
        title: in words.
        trainer: registered name.
        options: overrides beside those of the small set.
        warm: whether the features are on disk before it starts.
        draws: whether it draws its pictures at its first start.
    """

    title: str
    trainer: str
    options: tuple[str, ...] = ()
    warm: bool = False
    draws: bool = False


CASES = {
    "lmpt-cold": Case("LMPT, cold cache", "LMPT"),
    "lmpt-warm": Case("LMPT, warm cache", "LMPT", ("TEST.SAVE_SCORES", "True"), warm=True),
    "best-val": Case("LMPT, best_val", "LMPT", (*_HELD_OUT, "TEST.FINAL_MODEL", "best_val")),
    "plateau": Case("LMPT, plateau", "LMPT", _PLATEAU),
    "dualcoop": Case("DualCoOp", "DualCoOp"),
    "finetune": Case("FinetuneCLIP", "FinetuneCLIP", ("OPTIM.LR", "1e-4")),
    "drawn": Case("CoOp, pictures drawn", "CoOp", draws=True),
}
