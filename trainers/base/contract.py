"""What a method must declare and return; said in words where it does not."""

from __future__ import annotations

from torch import Tensor
from yacs.config import CfgNode


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
