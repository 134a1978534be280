"""The config keys that trainer and data set files written for CoOp's train.py count on."""

from __future__ import annotations

from yacs.config import CfgNode

# CoOp declares its methods' keys in train.py, not in their files. These are its defaults.
_TRAINERS = {
    "COOP": {
        "N_CTX": 16,  # context tokens
        "CSC": False,  # class-specific contexts
        "CTX_INIT": "",  # words to start from
        "PREC": "fp16",  # fp16 | fp32 | amp
        "CLASS_TOKEN_POSITION": "end",  # end | middle | front
    },
    "COCOOP": {"N_CTX": 16, "CTX_INIT": "", "PREC": "fp16"},
}
_SUBSAMPLE_CLASSES = "all"  # all | base | new; of a data set's classes


def declare_coop_keys(cfg: CfgNode) -> None:
    """Declare what CoOp's train.py declares, where no module of this project has done so.

    Args:
        cfg: changed in place, after every `extend_cfg`.
    """
    for name, options in _TRAINERS.items():
        cfg.TRAINER.setdefault(name, CfgNode(options))
    cfg.DATASET.setdefault("SUBSAMPLE_CLASSES", _SUBSAMPLE_CLASSES)
