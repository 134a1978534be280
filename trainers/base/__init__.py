"""What every method's trainer shares.

`prompt_trainer` holds Dassl's hooks; each of the other files is one object that it owns.
"""

from yacs.config import CfgNode

from trainers.base import options, tower_tuning, training_data, views
from trainers.base.options import method_node
from trainers.base.prompt_trainer import PromptTrainer

__all__ = ["PromptTrainer", "extend_cfg", "method_node"]


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys of all prompt trainers."""
    for part in (options, training_data, tower_tuning, views):
        part.extend_cfg(cfg)
