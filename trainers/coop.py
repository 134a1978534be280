"""CoOp (Zhou et al., IJCV 2022, https://arxiv.org/abs/2109.01134) for several labels an image.

The paper trains with a softmax cross-entropy (`TRAINER.LOSS.NAME softmax_ce`); several labels an
image need a loss that judges every class by itself.
"""

from __future__ import annotations

from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from modeling.prompts.prompt_model import PromptModel
from trainers.base import PromptTrainer, method_node


class CoOpModel(PromptModel):
    """Trainable context words before the class names."""


def extend_cfg(cfg: CfgNode) -> None:
    """Declare CoOp's keys, as CoOp's own train.py spells them."""
    cfg.TRAINER.COOP = method_node(CoOpModel)


@TRAINER_REGISTRY.register()
class CoOp(PromptTrainer):
    """CoOp: trainable context words before the class names."""

    model_class = CoOpModel
