"""The losses' config keys: `TRAINER.LOSS`, read by every trainer."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from yacs.config import CfgNode

from common.config_rules import Choice, Number, declare_rules
from losses import LOSSES, build_loss
from losses._common import ENTRY_REDUCTIONS
from losses.class_balanced import MODES
from losses.distribution_balanced import VARIANTS

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


_GAMMA = Number(least=0)  # exponent of a focal factor
_WEIGHT = Number(least=0, most=1)  # of present entries; absent ones get the rest
declare_rules(
    "TRAINER.LOSS",
    {
        "NAME": Choice(LOSSES),
        "ASL.GAMMA_NEG": _GAMMA,
        "ASL.GAMMA_POS": _GAMMA,
        "ASL.CLIP": Number(least=0, below=1),
        "ASL.EPS": Number(above=0, below=1),
        "ASL.REDUCTION": Choice([word for word in ENTRY_REDUCTIONS if word != "none"]),
        "FOCAL.ALPHA": _WEIGHT,
        "FOCAL.GAMMA": _GAMMA,
        "RANKING.MARGIN": Number(least=0),
        "DB.VARIANT": Choice(VARIANTS),
        "DB.ALPHA": Number(least=0),
        "DB.BETA": Number(least=0),
        "DB.MU": Number(),
        "DB.NEG_SCALE": Number(above=0),
        "DB.INIT_BIAS": Number(least=0),
        "DB.FOCAL_GAMMA": _GAMMA,
        "CB.MODE": Choice(MODES),
        "CB.BETA": Number(least=0, below=1),
        "CB.ALPHA": _WEIGHT,
        "CB.GAMMA": _GAMMA,
        "CB.NEG_SCALE": Number(above=0),
        "CB.INIT_BIAS": Number(least=0),
    },
)


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
