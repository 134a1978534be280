"""What a method declares and returns: keys that methods share, and words where one is missing."""

from __future__ import annotations

from torch import Tensor
from yacs.config import CfgNode

from common.config_rules import Choice, Number, declare_rules
from modeling.clip.precision import PRECISIONS
from modeling.prompts.logit_scale import OFFSETS
from modeling.prompts.prompt_learner import POSITIONS


def prompt_options(**changes: object) -> CfgNode:
    """Keys of a method that learns contexts, spelled as CoOp spells them.

    Args:
        **changes: defaults that differ, and keys of the method's own.
    """
    options = {
        "N_CTX": 16,  # M, context tokens
        "CSC": False,  # class-specific contexts
        "CTX_INIT": "",  # words to start from; their number then replaces N_CTX
        "CLASS_TOKEN_POSITION": "end",  # end | middle | front
        "PREC": "fp32",  # fp32 | fp16 | bf16 | amp
        "LOGIT_SCALE": 0.0,  # of the cosines; 0: CLIP's own, about 100
        "LOGIT_SCALE_LEARNABLE": False,  # train it, from there
        "LOGIT_BIAS": "off",  # off | fixed (the mean cosine before training) | learnt
    }
    return CfgNode({**options, **changes})


# Keys of a method that can look at regions beside the whole image.
REGIONS = {
    "REGION_WEIGHT": 0.0,  # share of the pooled regions in the similarity, in [0, 1]; 0: none
    "REGION_SCALE": 100.0,  # steepness of the softmax over regions that weighs them; 0: their mean
}

declare_rules(  # of keys that mean the same in every method that has them
    "TRAINER.*",
    {
        "N_CTX": Number(least=1),
        "CLASS_TOKEN_POSITION": Choice(POSITIONS),
        "PREC": Choice(PRECISIONS),
        "LOGIT_SCALE": Number(least=0),
        "LOGIT_BIAS": Choice(OFFSETS),
        "REGION_WEIGHT": Number(least=0, most=1),
        "REGION_SCALE": Number(least=0),
    },
)


def own_options(cfg: CfgNode, method: str) -> CfgNode:
    """A method's node of the config, `TRAINER.<CLASS NAME IN CAPITALS>`.

    Raises:
        ValueError: its file declares none.
    """
    node = method.upper()
    if node not in cfg.TRAINER:
        raise ValueError(
            f"{method} has no keys: add to its file a function extend_cfg(cfg) that sets "
            f"cfg.TRAINER.{node} = prompt_options() (docs/plugins.md)."
        )
    return cfg.TRAINER[node]


def check_terms(method: str, terms: dict[str, Tensor]) -> None:
    """Refuse what a method's `compute_loss` returned unless it has a term to minimise.

    Raises:
        ValueError: it is no dict, or has no "loss".
    """
    if isinstance(terms, dict) and "loss" in terms:
        return
    got = f"a dict of {', '.join(terms) or 'nothing'}" if isinstance(terms, dict) else type(terms)
    raise ValueError(
        f"{method}.compute_loss must return a dict of loss terms, of which the one called "
        f'"loss" is minimised; got {got}.'
    )
