"""What values Dassl's own config keys may have, but for those that a module here widens."""

from __future__ import annotations

from common.config.config_rules import Choice, Each, Number, declare_rules

_SHARE = Number(least=0, most=1)
_DECAY = Number(least=0, below=1)
_RATE = Number(least=0)
_COUNT = Number(least=1)
_SAMPLERS = Choice(
    (
        *("RandomSampler", "SequentialSampler", "RandomDomainSampler", "SeqDomainSampler"),
        "RandomClassSampler",
    )
)

declare_rules("", {"SEED": Number(least=0, most=2**32 - 1, also=(-1,))})
declare_rules(
    "INPUT",
    {
        "SIZE": Each(_COUNT, size=2),
        "PIXEL_MEAN": Each(Number(), size=3),
        "PIXEL_STD": Each(Number(above=0), size=3),
        "CROP_PADDING": Number(least=0),
        "RRCROP_SCALE": Each(Number(above=0, most=1), size=2),
        "CUTOUT_N": Number(least=0),
        "CUTOUT_LEN": _COUNT,
        "GN_MEAN": Number(),
        "GN_STD": Number(least=0),
        "RANDAUGMENT_N": Number(least=0),
        "RANDAUGMENT_M": Number(least=0, most=30),
        "COLORJITTER_B": Number(least=0),
        "COLORJITTER_C": Number(least=0),
        "COLORJITTER_S": Number(least=0),
        "COLORJITTER_H": Number(least=0, most=0.5),
        "RGS_P": _SHARE,
        "GB_P": _SHARE,
        "GB_K": Number(least=1, odd=True),
    },
)
declare_rules(
    "DATASET",
    {
        "NUM_LABELED": Number(least=1, also=(-1,)),
        "NUM_SHOTS": Number(least=1, also=(-1,)),
        "VAL_PERCENT": _SHARE,
        "STL10_FOLD": Number(least=0, most=9, also=(-1,)),
        "CIFAR_C_LEVEL": Number(least=1, most=5),
        "SUBSAMPLE_CLASSES": Choice(("all", "base", "new")),  # CoOp's
    },
)
declare_rules("DATALOADER", {"NUM_WORKERS": Number(least=0), "K_TRANSFORMS": _COUNT})
for _part in ("TRAIN_X", "TRAIN_U", "TEST"):
    declare_rules(f"DATALOADER.{_part}", {"SAMPLER": _SAMPLERS, "BATCH_SIZE": _COUNT})
for _part in ("TRAIN_X", "TRAIN_U"):
    declare_rules(f"DATALOADER.{_part}", {"N_DOMAIN": Number(least=0), "N_INS": _COUNT})
declare_rules("MODEL.HEAD", {"HIDDEN_LAYERS": Each(_COUNT), "DROPOUT": _DECAY})
declare_rules(
    "OPTIM",
    {
        "NAME": Choice(("adam", "amsgrad", "sgd", "rmsprop", "radam", "adamw")),
        "LR": _RATE,
        "WEIGHT_DECAY": _RATE,
        "MOMENTUM": _DECAY,
        "SGD_DAMPNING": _SHARE,
        "RMSPROP_ALPHA": _DECAY,
        "ADAM_BETA1": _DECAY,
        "ADAM_BETA2": _DECAY,
        "BASE_LR_MULT": _RATE,
        "STEPSIZE": Each(Number(least=1, also=(-1, 0))),
        "GAMMA": Number(above=0, most=1),
        "MAX_EPOCH": _COUNT,
        "WARMUP_EPOCH": Number(least=0, also=(-1,)),
        "WARMUP_TYPE": Choice(("linear", "constant")),
        "WARMUP_CONS_LR": _RATE,
        "WARMUP_MIN_LR": _RATE,
    },
)
declare_rules(
    "TRAIN",
    {
        "CHECKPOINT_FREQ": Number(least=0),
        "PRINT_FREQ": _COUNT,
        "COUNT_ITER": Choice(("train_x", "train_u", "smaller_one")),
    },
)
