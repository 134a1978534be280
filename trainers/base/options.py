"""The config keys that all prompt trainers share, and what is refused before any work."""

from __future__ import annotations

from dassl.data.datasets import DatasetBase
from dassl.data.transforms.transforms import AVAI_CHOICES
from yacs.config import CfgNode

import compat.dassl_rules  # noqa: F401 - the rules of the keys that Dassl declares
from common.config.config_rules import Choice, Number, check_values, declare_rules
from loading.transforms import check_transforms
from modeling.clip.architecture import ACTIVATIONS
from modeling.clip.clip_file import AUTO
from modeling.clip.precision import PRECISIONS, TRAINABLE
from modeling.encoders.dense_image_encoder import VIT_REGIONS
from modeling.prompts.logit_scale import OFFSETS
from modeling.prompts.prompt_learner import POSITIONS
from modeling.prompts.prompt_model import PromptModel
from trainers.base.epoch_selection import FINAL_MODELS
from trainers.base.plateau import PLATEAU
from trainers.base.views import check_views

TRAINABLE_PREC = Choice(  # of a method that trains whole towers
    TRAINABLE,
    why="Half-precision weights lose small steps and turn NaN under AdamW. amp is as fast and "
    "keeps them in fp32.",
)

declare_rules("MODEL.BACKBONE", {"ACTIVATION": Choice((AUTO, *ACTIVATIONS))})
declare_rules("MODEL.DENSE", {"VIT": Choice(VIT_REGIONS)})
declare_rules(
    "OPTIM",
    {
        "LR_SCHEDULER": Choice(("single_step", "multi_step", "cosine", PLATEAU)),
        "PATIENCE": Number(least=0),
        "MIN_LR": Number(least=0),
    },
)
declare_rules(
    "TEST",
    {
        "SPLIT": Choice(("test", "val")),
        "FINAL_MODEL": Choice(FINAL_MODELS),
        "EVAL_FREQ": Number(least=0),
    },
)
declare_rules(  # of keys that mean the same in every method that has them
    "TRAINER.*",
    {
        "N_CTX": Number(least=1),
        "CLASS_TOKEN_POSITION": Choice(POSITIONS),
        "PREC": Choice(PRECISIONS),
        "LOGIT_SCALE": Number(least=0),
        "COSINE_OFFSET": Choice(OFFSETS),
        "REGION_WEIGHT": Number(least=0, most=1),
        "REGION_SCALE": Number(least=0),
    },
)


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys of the towers, of the training step and of the plateau schedule."""
    cfg.MODEL.BACKBONE.NAME = "tiny"  # a CLIP name, a file of configs/backbones, or a weight file
    cfg.MODEL.BACKBONE.ACTIVATION = AUTO  # auto (as the file tells) | quickgelu | gelu
    # How regions are read from an image tower, by the methods that look at regions.
    cfg.MODEL.DENSE = CfgNode(
        {
            "POS_EMBED": False,  # ResNet: add the attention pool's positions
            "MEAN_TOKEN": False,  # ResNet: the mean of the regions is one more region
            "VIT": "value",  # value (the last block's value path) | last (its plain output)
        }
    )
    cfg.TRAIN.RECOMPUTE = False  # an image tower that learns: less memory, longer backward passes
    cfg.TRAIN.CUDA_GRAPH = True  # replay the step as one CUDA graph, on a GPU
    cfg.TEST.EVAL_FREQ = 0  # look at TEST.SPLIT every so many epochs; nothing is chosen by it
    cfg.OPTIM.PATIENCE = 5  # epochs without a better metric; LR_SCHEDULER plateau alone
    cfg.OPTIM.MIN_LR = 1e-7  # where plateau stops; it multiplies by OPTIM.GAMMA


def method_node(model: type[PromptModel], **more: object) -> CfgNode:
    """The config node of a method: its model's options, PREC, and keys that its trainer reads.

    Args:
        model: the method's model.
        **more: other defaults, and further keys.
    """
    precision = {"PREC": "fp32"}  # fp32 | fp16 | bf16 | amp
    return CfgNode({**model.defaults, **precision, **more})


def model_options(model: type[PromptModel], options: CfgNode) -> dict[str, object]:
    """Those of a method's keys that its model takes; PREC and the like are the trainer's."""
    return {key: value for key, value in options.items() if key in model.defaults}


def own_options(cfg: CfgNode, method: str) -> CfgNode:
    """A method's node of the config, `TRAINER.<CLASS NAME IN CAPITALS>`.

    Raises:
        ValueError: its file declares none.
    """
    node = method.upper()
    if node not in cfg.TRAINER:
        raise ValueError(
            f"{method} has no keys: add to its file a function extend_cfg(cfg) that sets "
            f"cfg.TRAINER.{node} = method_node(ITS MODEL) (docs/plugins.md)."
        )
    return cfg.TRAINER[node]


def check_unseen(
    dataset: DatasetBase, model: type[PromptModel], options: CfgNode, class_specific: bool
) -> None:
    """Refuse parts of a method that are made for unseen classes and would never learn.

    Args:
        dataset: of which training may see some classes' labels alone.
        model: the method's model.
        options: the method's own node of the config.
        class_specific: whether what it learns has a part for each class, whatever the options.

    Raises:
        ValueError: there are such parts.
    """
    seen = getattr(dataset, "seen", None)
    if seen is None or not model.trains or not (class_specific or options.get("CSC", False)):
        return
    advice = "choose another method" if class_specific else "set the method's CSC False"
    raise ValueError(
        f"DATASET.CLASS_SPLIT has {len(seen) - sum(seen)} classes that training does not see, and "
        f"this method learns a part for each class, which would stay untrained for these: {advice}."
    )


def check_shared_options(cfg: CfgNode, method: str, tunes_image_encoder: bool) -> None:
    """Refuse values that break the rule of their key, and those that do not go together.

    Args:
        cfg: the run's config.
        method: name of the trainer's class.
        tunes_image_encoder: whether any of the image tower learns.

    Raises:
        ValueError: with the key, its value and the rule.
    """
    check_values(cfg, methods=[method.upper()])
    optim = cfg.OPTIM
    if optim.NAME == "sgd" and optim.SGD_NESTEROV and (optim.MOMENTUM == 0 or optim.SGD_DAMPNING):
        raise ValueError(
            "OPTIM.SGD_NESTEROV needs OPTIM.MOMENTUM above 0 and OPTIM.SGD_DAMPNING 0, got "
            f"{optim.MOMENTUM} and {optim.SGD_DAMPNING}."
        )
    if cfg.OPTIM.LR_SCHEDULER == PLATEAU and cfg.OPTIM.WARMUP_EPOCH > 0:
        raise ValueError("OPTIM.LR_SCHEDULER plateau has no warm-up; set OPTIM.WARMUP_EPOCH 0.")
    if cfg.INPUT.NO_TRANSFORM:
        raise ValueError("INPUT.NO_TRANSFORM True leaves no tensors to encode; set it False.")
    check_views(cfg.INPUT)
    check_transforms(cfg.INPUT, AVAI_CHOICES)
    if cfg.TRAIN.RECOMPUTE and not tunes_image_encoder:
        raise ValueError(
            "TRAIN.RECOMPUTE does nothing where the image tower stays frozen; set it False, or "
            "tune the tower with TRAINER.TUNE."
        )
    if cfg.DATASET.TEXT_AS_IMAGE and cfg.DATALOADER.CACHE_VIEWS:
        raise ValueError("DATALOADER.CACHE_VIEWS is for images; texts have one view. Set it 0.")
    if cfg.DATASET.TEXT_AS_IMAGE and tunes_image_encoder:
        raise ValueError(
            f"{cfg.TRAINER.NAME} trains the image tower, and captions hold no images; set "
            "DATASET.TEXT_AS_IMAGE False."
        )
