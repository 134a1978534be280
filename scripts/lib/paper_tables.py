"""The tables of papers that reproduce.sh runs: recipes, on which data set, and in which order.

A row's keys are what it needs beside its recipe. Seeds are those of the command if none are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Row:
    """Runs of a method, one for each seed.

    Attributes:
        trainer: a trainer's name.
        recipe: a file of configs/trainers/<trainer>, without .yaml; "": the recommended one.
        keys: KEY VALUE ...
        on: the backbones of whose tables it is a row; empty: all of them.
        backbone: what it runs with; "": the table's.
    """

    trainer: str
    recipe: str = ""
    keys: tuple[str, ...] = ()
    on: tuple[str, ...] = ()
    backbone: str = ""

    def having(self, *keys: str) -> Row:
        """The row with further keys, which come first."""
        return replace(self, keys=keys + self.keys)


@dataclass(frozen=True)
class Ensemble:
    """Scores of two rows, combined seed by seed (scripts/ensemble_scores.py).

    Attributes:
        first: a row of the table, and so is `second`.
        second: see `first`.
        weight: share of the second.
    """

    first: Row
    second: Row
    weight: float


@dataclass(frozen=True)
class Table:
    """A paper's table.

    Attributes:
        dataset: a file of configs/datasets, without .yaml.
        backbones: files of configs/backbones, of which there is a table each.
        rows: in the order in which they run, the quick ones first; ensembles come last.
        seeds: that are run.
    """

    dataset: str
    backbones: tuple[str, ...]
    rows: Sequence[Row | Ensemble]
    seeds: str = "1 2 3"


RESNET, RESNETS = ("rn50",), ("rn50", "rn101")
BACKBONES = (*RESNETS, "vit_b16", "vit_b32")
RAW = ("DATASET.CLASSNAMES", "raw")  # "diningtable", as in the authors' codes; COCO has one form
SCORES = ("TEST.SAVE_SCORES", "all")  # of training images too, which an ensemble is scaled by
ZERO_SHOT = Row("ZeroshotCLIP")


def _long_tail(keys: tuple[str, ...] = (), lmpt: tuple[str, ...] = (), dual: tuple = ()) -> list:
    """The LMPT paper's; DualCoOp and TaI-DPT are known on the ResNet alone."""
    rows = [
        ZERO_SHOT,
        Row("LMPT", "paper", lmpt),
        Row("CoOp"),
        Row("DualCoOp", "paper", dual, on=RESNET),
        Row("TaIDPT", "paper", on=RESNET),
        Row("CoCoOp"),
    ]
    return [row.having(*keys) for row in rows]


def _partial(texts: Row, *methods: Row) -> list[Row | Ensemble]:
    """10% to 90% of the labels; the last method also with TaI-DPT, at the published weight."""
    shares = [f"0.{tenth}" for tenth in range(1, 10)]
    rows = [[row.having("DATASET.LABEL_PROPORTION", p) for p in shares] for row in methods]
    return [texts, *(row for own in rows for row in own), *_with_texts(rows[-1], texts, 0.1)]


def _with_texts(rows: Iterable[Row], texts: Row, weight: float) -> list[Ensemble]:
    return [Ensemble(row, texts, weight) for row in rows]


def _few_shot(texts: Row) -> list[Row | Ensemble]:
    """Sixteen novel classes, then all of them; 0.6 for the images, of which a comment tells."""
    novel = ("DATASET.CLASS_SPLIT", "coco_novel_16")
    coop = Row("CoOp", keys=SCORES)
    few = [coop.having("DATASET.NUM_SHOTS", shots) for shots in ("1", "2", "4", "8", "16")]
    return [
        ZERO_SHOT.having(*novel),
        ZERO_SHOT,
        replace(texts, keys=novel),
        texts,
        *(Row("CoOp", keys=(*novel, "DATASET.NUM_SHOTS", shots)) for shots in ("1", "5")),
        *few,
        *_with_texts(few, texts, 0.4),
    ]


def _unseen(classes: str, recipe: str) -> list[Row]:
    return [ZERO_SHOT.having("DATASET.CLASS_SPLIT", classes), Row("DualCoOp", recipe)]


def _texts(recipe: str, *keys: str) -> list[Row]:
    return [ZERO_SHOT.having(*keys), Row("TaIDPT", recipe, on=RESNET)]


def _tai_dpt(recipe: str) -> Row:
    return Row("TaIDPT", recipe, SCORES, backbone="rn50")


# DualCoOp as TaI-DPT's authors run it, their DualCoOp*.
STAR = Row("DualCoOp", "tai_dpt", SCORES)
NUS_BATCH = ("DATALOADER.TRAIN_X.BATCH_SIZE", "192")
LABELLED = ("DATASET.UNLABELED", "drop")

TABLES = {
    "voc_lt": Table(
        "voc_lt",
        ("rn50", "vit_b16"),
        _long_tail(RAW, dual=("OPTIM.LR", "1e-3")),
        "1 2 3 4 5",
    ),
    "coco_lt": Table(
        "coco_lt", ("rn50", "vit_b16"), _long_tail(lmpt=("OPTIM.LR", "1e-4")), "1 2 3 4 5"
    ),
    "voc07-partial": Table(
        "voc07",
        ("rn101",),
        _partial(_tai_dpt("voc07"), Row("DualCoOp", "voc07_partial"), STAR.having(*RAW)),
    ),
    "coco14-partial": Table(
        "coco14", ("rn101",), _partial(_tai_dpt("paper"), Row("DualCoOp", "coco14_partial"), STAR)
    ),
    "nus-partial": Table(
        "nus_wide", ("rn101",), _partial(_tai_dpt("nus_wide"), STAR.having(*NUS_BATCH))
    ),
    "coco14-zero-shot": Table("coco14", RESNETS, _unseen("coco_48_17", "coco14_zero_shot")),
    "nus-zero-shot": Table("nus_wide", RESNET, _unseen("nus_wide_925_81", "nus_wide_zero_shot")),
    "voc07-text-only": Table("voc07", BACKBONES, _texts("voc07", *RAW)),
    "coco14-text-only": Table("coco14", BACKBONES, _texts("paper")),
    "nus-text-only": Table(
        "nus_wide", BACKBONES, [ZERO_SHOT.having(*LABELLED), *_texts("nus_wide")]
    ),
    "coco14-few-shot": Table("coco14", RESNET, _few_shot(Row("TaIDPT", "paper", SCORES))),
}
