"""What every method shares, in four steps that build on each other.

`epoch_loop` runs an epoch, `life_cycle` a whole run, `batches` feeds it, and `prompt_trainer` is
what a method subclasses.
"""

from yacs.config import CfgNode

from trainers.base import batches, life_cycle, prompt_trainer
from trainers.base.contract import REGIONS, prompt_options
from trainers.base.life_cycle import LifeCycle
from trainers.base.prompt_trainer import PromptTrainer

__all__ = ["REGIONS", "LifeCycle", "PromptTrainer", "extend_cfg", "prompt_options"]


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys of all of them."""
    for part in (life_cycle, batches, prompt_trainer):
        part.extend_cfg(cfg)
