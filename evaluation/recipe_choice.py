"""How the recipe of a run was chosen: on which images, among how many tried settings."""

from __future__ import annotations

from typing import Any

from yacs.config import CfgNode

from common.config.config_rules import Choice, Number, declare_rules
from evaluation.evaluator import SCORES

__all__ = ["extend_cfg", "recipe_choice"]


def extend_cfg(cfg: CfgNode) -> None:
    """Declare what a recipe says of itself; scripts/sweep.py writes it into those it chooses."""
    cfg.RECIPE = CfgNode(
        {
            "CHOSEN_ON": "",  # val | test: the images whose mAP chose it; "": not said
            "TRIALS": 0,  # settings among which it was chosen
            "TRIAL": 0,  # its number among them; 0 is the recommended recipe
            "SCORE": "logit",  # space of that mAP, as of TEST.SCORE
            "MAP": 0.0,  # that mAP, in percent
            "SAMPLER": "",  # what proposed the settings
            "SEED": 0,  # of the settings and of their runs
        }
    )


declare_rules(
    "RECIPE",
    {
        "CHOSEN_ON": Choice(("", "val", "test")),
        "TRIALS": Number(least=0),
        "TRIAL": Number(least=0),
        "SCORE": Choice(SCORES),
        "MAP": Number(least=0, most=100),
        "SEED": Number(least=0),
    },
)


def recipe_choice(cfg: CfgNode) -> dict[str, Any]:
    """What results.json says under "recipe"; empty if the recipe does not say it.

    Args:
        cfg: with the keys of `extend_cfg`.
    """
    recipe = cfg.RECIPE
    if not recipe.CHOSEN_ON:
        return {}
    return {
        "chosen_on": recipe.CHOSEN_ON,
        "trials": recipe.TRIALS,
        "trial": recipe.TRIAL,
        "score": recipe.SCORE,
        "mAP": recipe.MAP,
        "sampler": recipe.SAMPLER,
        "seed": recipe.SEED,
    }
