"""The losses' config keys: `TRAINER.LOSS`, read by every trainer."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from yacs.config import CfgNode

from losses import build_loss

_FAMILIES = {  # loss to the node of TRAINER.LOSS that holds its options
    "asl": "ASL",
    "focal": "FOCAL",
    "ranking": "RANKING",
    **dict.fromkeys(("db", "db_no_focal", "r_bce_focal", "ntr_focal"), "DB"),
    **dict.fromkeys(("cb_focal", "cb_ntr"), "CB"),
}


def extend_cfg(cfg: CfgNode) -> None:
    """Declare `TRAINER.LOSS`: the loss by name, and a node of options for each family."""
    loss = cfg.TRAINER.LOSS = CfgNode()
    loss.NAME = "db"  # one of losses.LOSSES
    loss.ASL = CfgNode({"GAMMA_NEG": 4.0, "GAMMA_POS": 0.0, "CLIP": 0.05, "EPS": 1e-8})
    loss.ASL.REDUCTION = "mean"  # mean | per_image (sum over classes) | sum, as in the original
    loss.FOCAL = CfgNode({"ALPHA": 0.5, "GAMMA": 2.0})
    loss.RANKING = CfgNode({"MARGIN": 1.0})  # in logits
    loss.DB = CfgNode()
    loss.DB.VARIANT = "official"  # paper | official | lmpt, see losses/distribution_balanced.py
    loss.DB.ALPHA = 0.1  # lift of the re-balancing weights
    loss.DB.BETA = 10.0  # their steepness
    loss.DB.MU = 0.3  # their centre: 0.3 VOC-LT, 0.2 COCO-LT
    loss.DB.NEG_SCALE = 5.0  # lambda of negative tolerance: 5 VOC-LT, 2 COCO-LT
    loss.DB.INIT_BIAS = 0.05  # kappa, size of the class bias
    loss.DB.FOCAL_GAMMA = 2.0
    loss.CB = CfgNode()
    loss.CB.MODE = "by_class"  # by_class | average_n | average_w | min_n
    loss.CB.BETA = 0.9
    loss.CB.ALPHA = 0.5
    loss.CB.GAMMA = 2.0
    loss.CB.NEG_SCALE = 2.0  # this and the next: cb_ntr alone
    loss.CB.INIT_BIAS = 0.05


def node_options(node: CfgNode, name: str) -> dict[str, object]:
    """Options that `TRAINER.LOSS` holds for a loss, in the spelling of its function."""
    family = _FAMILIES.get(name)
    return {key.lower(): value for key, value in node[family].items()} if family else {}


def loss_from_config(
    node: CfgNode, class_counts: Tensor, num_train: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """`losses.build_loss` with the options of a config.

    Args:
        node: `TRAINER.LOSS`.
        class_counts: training images of each class [C], on the device that trains.
        num_train: N, training images.
    """
    return build_loss(node.NAME, class_counts, num_train, **node_options(node, node.NAME))
