"""The losses' config keys: `TRAINER.LOSS`, read by every trainer."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from yacs.config import CfgNode

import losses
from common.config.config_rules import Choice, declare_rules
from losses.registry import DEFAULTS, LOSSES, NODES


def extend_cfg(cfg: CfgNode) -> None:
    """Declare `TRAINER.LOSS`: the loss by name, and the nodes of options that losses registered."""
    cfg.TRAINER.LOSS = CfgNode({"NAME": "db", **DEFAULTS})


class _Registered(Choice):
    """The name of a registered loss."""

    def hint(self, value: object) -> str:
        """The nearest one, and the files that may have had it."""
        lost = "; ".join(map(str, losses.BROKEN))
        return super().hint(value) + (f" Broken files register nothing: {lost}." if lost else "")


declare_rules("TRAINER.LOSS", {"NAME": _Registered(LOSSES)})


def node_options(node: CfgNode, name: str) -> dict[str, object]:
    """Options that `TRAINER.LOSS` holds for a loss, in the spelling of its function."""
    return {k.lower(): value for k, value in node[NODES[name]].items()} if name in NODES else {}


def loss_from_config(
    node: CfgNode, class_counts: Tensor, num_train: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """`losses.build_loss` with the options of a config.

    Args:
        node: `TRAINER.LOSS`.
        class_counts: training images of each class [C], on the device that trains.
        num_train: N, training images.
    """
    return losses.build_loss(node.NAME, class_counts, num_train, **node_options(node, node.NAME))
