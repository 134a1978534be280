"""The evaluator of every trainer here: mAP over all, head, medium and tail classes.

Scores stay on the device they were computed on until the split is done; then each class is ranked
once. mAP is always reported in both score spaces. They differ because average precision ranks
*images* within a class: a softmax over the classes subtracts another constant from each image.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from dassl.evaluation import EVALUATOR_REGISTRY, EvaluatorBase
from torch import Tensor
from yacs.config import CfgNode

from common.config.config_rules import Choice, Each, Number, check_values, declare_rules
from common.groups import GROUPS
from evaluation.fitted.fitted_files import Fitted
from evaluation.metrics.output_link import LINKED, LINKS, link_of
from evaluation.metrics.scored_images import ScoredImages
from evaluation.metrics.threshold_metrics import Decisions, decide, log_odds
from evaluation.metrics.top_k import top_k_metrics
from evaluation.metrics.unseen_classes import unseen_metrics
from evaluation.printed_result import class_lines, result_lines

__all__ = ["SCORES", "MultiLabelLongTail", "extend_cfg"]

SCORES = ("logit", "sigmoid", "softmax", LINKED)
SAVED_SCORES = ("test", "all", "off")


def extend_cfg(cfg: CfgNode) -> None:
    """Declare this module's config keys and choose its evaluator."""
    cfg.TEST.EVALUATOR = "MultiLabelLongTail"
    # Space that ranks the images: logit | sigmoid | softmax (over the classes) | softmax_link (of
    # LINK: sigmoid((logit - LINK_CENTRE) / LINK_WIDTH), or the logits). A sigmoid keeps the order
    # of the logits, so both give one mAP.
    cfg.TEST.SCORE = "logit"
    cfg.TEST.LINK = "sigmoid"  # sigmoid | identity: what softmax_link is a softmax of
    cfg.TEST.LINK_CENTRE = 0.0
    cfg.TEST.LINK_WIDTH = 0.0  # 0: no link; above 0, mAP is reported in that space, too
    # A class is predicted above this probability, in (0, 1): of the softmax if SCORE is softmax,
    # else of the sigmoid. Used by CP, CR, CF1, OP, OR and OF1 alone. CLIP's logits are all
    # positive (about 25), so an uncalibrated sigmoid predicts every class.
    cfg.TEST.THRESHOLD = 0.5
    # For each k, CP to OF1 of the k highest classes of each image: OF1_top3 is the F1 "at 3".
    cfg.TEST.TOP_K = ()
    # Logits and targets that a run keeps, in OUTPUT_DIR: test (scores.npz, of the evaluated images,
    # as they were ranked) | all (also scores_train.npz, of the training images, which are encoded
    # for it; and scores.npz where another evaluator ranks) | off. True and False are all and off.
    # scores.npz takes 88 kB for 1,100 images and 20 classes, 1.5 MB for 5,000 and 80.
    cfg.TEST.SAVE_SCORES = "test"


declare_rules(
    "TEST",
    {
        "SCORE": Choice(SCORES),
        "LINK": Choice(LINKS),
        "LINK_CENTRE": Number(),
        "LINK_WIDTH": Number(least=0),
        "THRESHOLD": Number(above=0, below=1),
        "TOP_K": Each(Number(least=1, whole=True)),
        "SAVE_SCORES": Choice(SAVED_SCORES),
    },
)


@EVALUATOR_REGISTRY.register()
class MultiLabelLongTail(EvaluatorBase):
    """Average precision per class and group, and thresholded precision, recall and F1.

    After `evaluate`, `metrics` holds its result and `per_class` one dict for each class:
    name, train_count, group, positives, and AP in percent (None for a class without positives).

    Args:
        cfg: config with the keys of `extend_cfg`.
        lab2cname: class names by column; without it classes are called by their column.
        **kwargs: accepted because Dassl's builder may pass more.

    Attributes:
        brief: print nothing, for whoever prints `summary`.
    """

    def __init__(
        self, cfg: CfgNode, lab2cname: Mapping[int, str] | None = None, **kwargs: object
    ) -> None:
        super().__init__(cfg)
        check_values(cfg.TEST, "TEST")
        self.score = cfg.TEST.SCORE
        self.link = link_of(cfg.TEST)
        self.threshold = cfg.TEST.THRESHOLD
        self.top_k = [int(k) for k in cfg.TEST.TOP_K]
        self._names = None if lab2cname is None else [lab2cname[c] for c in sorted(lab2cname)]
        self._class_counts: list[int] | None = None
        self._groups: list[str] | None = None
        self._seen: list[bool] | None = None
        self._warned = False
        self.chosen: Fitted | None = None
        self.brief = False
        self.reset()

    @property
    def threshold_space(self) -> str:
        """The probability that TEST.THRESHOLD refers to: sigmoid or softmax."""
        return "softmax" if self.score == "softmax" else "sigmoid"

    @property
    def logits(self) -> Tensor:
        """[N, C] float32, all batches since `reset`."""
        return self.scored.logits

    @property
    def targets(self) -> Tensor:
        """[N, C] int8, all batches since `reset`."""
        return self.scored.targets

    def describe_classes(
        self,
        class_counts: Sequence[int] | Tensor,
        groups: Sequence[str],
        seen: Sequence[bool] | None = None,
    ) -> None:
        """Tell how often each class occurs in the training set, and its group.

        Args:
            class_counts: C training counts.
            groups: C times head, medium or tail.
            seen: of each class, whether training saw its labels; None: it saw them all.

        Raises:
            ValueError: lengths do not match the classes, or a group has another name.
        """
        counts = [int(count) for count in class_counts]
        groups = list(groups)
        expected = len(counts) if self._names is None else len(self._names)
        if not len(counts) == len(groups) == expected:
            raise ValueError(
                f"expected a training count and a group for each of {expected} classes, "
                f"got {len(counts)} counts and {len(groups)} groups"
            )
        unknown = sorted(set(groups) - set(GROUPS))
        if unknown:
            raise ValueError(f"groups must be {', '.join(GROUPS)}, got {', '.join(unknown)}")
        self._class_counts, self._groups = counts, groups
        self._seen = None if seen is None or all(seen) else list(map(bool, seen))

    def use_thresholds(self, chosen: Fitted) -> None:
        """Also report CP to OF1 at thresholds chosen beforehand, as CP_chosen to OF1_chosen.

        Args:
            chosen: from `fitted.saved_thresholds.load_thresholds`, for the model at hand.
        """
        self.chosen = chosen

    def reset(self) -> None:
        """Forget all batches and results."""
        self.scored = ScoredImages()
        self.metrics: OrderedDict[str, float] = OrderedDict()
        self.per_class: list[dict] = []

    def process(self, logits: Tensor, targets: Tensor) -> None:
        """Keep one batch on the device of its logits, without waiting for the device.

        Args:
            logits: [B, C].
            targets: [B, C], 1 present, 0 absent, -1 unknown.

        Raises:
            ValueError: targets are class indices, or shapes do not match.
        """
        if targets.ndim == 1:
            raise ValueError(
                f"expected multi-label targets [B, C], got class indices {list(targets.shape)}; "
                "for a data set with one label per image set TEST.EVALUATOR Classification"
            )
        known = self._names or self._class_counts
        if logits.shape != targets.shape or (known and logits.shape[1] != len(known)):
            classes = len(known) if known else "C"
            raise ValueError(
                f"expected logits and targets [B, {classes}], "
                f"got {list(logits.shape)} and {list(targets.shape)}"
            )
        # Metrics are counted in float64, which Apple's GPUs do not have.
        device = "cpu" if logits.device.type == "mps" else logits.device
        # Copies: a captured graph writes every batch into the same memory.
        self.scored.add(logits.to(device), targets)

    def evaluate(self) -> OrderedDict[str, float]:
        """Compute, print and return the metrics in percent, mAP first.

        Raises:
            RuntimeError: no batch was processed.
            ValueError: a logit is NaN, a target is not 1, 0 or -1, or no class has a positive.
        """
        scored = self.scored
        if not len(scored):
            raise RuntimeError("expected at least one batch before evaluate(), got none")
        positives = scored.positives().tolist()
        if not any(positives):
            images = f"{len(scored)} images; check the label list of this split"
            raise ValueError(f"expected at least one positive target, got none in {images}")
        scored.check(self._names)
        spaces = ("logit", "softmax", LINKED) if self.link else ("logit", "softmax")
        found = {space: scored.average_precision(space, self.link) for space in spaces}  # [C] each
        precisions = {space: _percent(values) for space, values in found.items()}
        space = self.score if self.score in precisions else "logit"
        own = precisions[space]
        self.per_class = self._describe(own, positives)

        self.metrics = OrderedDict(mAP=_mean(own))
        for group, rows in self._by_group().items():
            if any(row["positives"] for row in rows):
                self.metrics[f"mAP_{group}"] = _mean([row["AP"] for row in rows])
        if self._seen is not None:
            self.metrics |= unseen_metrics(
                scored, found[space], self._seen, self.score, self.top_k, self.link
            )
        for space, values in precisions.items():
            self.metrics[f"mAP_{space}"] = _mean(values)
        decisions, chosen = self._decisions()
        self.metrics |= {n: 100 * v for n, v in decisions.metrics().items()}
        for k in self.top_k:
            self.metrics |= top_k_metrics(scored, k)
        if self.chosen is not None:
            self.metrics |= {f"{n}_chosen": 100 * v for n, v in chosen.metrics().items()}
        if not self.brief:
            self._print(len(scored))
            self._warn_of_one_answer(decisions)
        return self.metrics

    def _decisions(self) -> tuple[Decisions, Decisions]:
        """Decisions at TEST.THRESHOLD, and those at chosen thresholds if there are some."""
        softmax = self.score == "softmax"
        decisions, chosen = Decisions(), Decisions()
        least = None if self.chosen is None else self.chosen.column("log_odds")  # [C]
        for logits, targets in self.scored.rows():
            decisions.count(decide(logits, self.threshold, softmax=softmax), targets)
            if least is not None:
                chosen.count(log_odds(logits, softmax=softmax) > least.to(logits.device), targets)
        return decisions, chosen

    @property
    def summary(self) -> str:
        """One line: mAP over all, head, medium and tail classes, in percent."""
        groups = [
            f"{g} {self.metrics[f'mAP_{g}']:.2f}" for g in GROUPS if f"mAP_{g}" in self.metrics
        ]
        return f"mAP {self.metrics['mAP']:.2f}%" + (f" ({', '.join(groups)})" if groups else "")

    def _warn_of_one_answer(self, decisions: Decisions) -> None:
        """Say, once, that the threshold lies below or above all scores."""
        present = decisions.predicted.sum().item()
        if self._warned or present not in (0, decisions.known.sum().item()):
            return
        what = "every class is predicted in every image" if present else "no class is predicted"
        print(
            f"* warning: {what}, so CP to OF1 say nothing of these scores; move TEST.THRESHOLD "
            "among them, or train with an offset (COSINE_OFFSET)"
        )
        self._warned = True

    def _describe(self, precisions: list[float | None], positives: list[int]) -> list[dict]:
        unknown = [None] * len(positives)
        names = self._names or [f"class {c}" for c in range(len(positives))]
        columns = (names, self._class_counts or unknown, self._groups or unknown)
        keys = ("name", "train_count", "group", "positives", "AP")
        rows = zip(*columns, positives, precisions, strict=True)
        return [dict(zip(keys, row, strict=True)) for row in rows]

    def _by_group(self) -> dict[str, list[dict]]:
        """Rows of `per_class` of each group that has classes, head first."""
        rows = {group: [row for row in self.per_class if row["group"] == group] for group in GROUPS}
        return {group: members for group, members in rows.items() if members}

    def _print(self, total: int) -> None:
        threshold = f"{self.threshold:g} ({self.threshold_space})"
        about = {"score": self.score, "threshold": threshold}
        if self.chosen is not None:
            about["thresholds of CP_chosen to OF1_chosen"] = self.chosen.about()
        lines = [*class_lines(self.per_class)] if self.cfg.TEST.PER_CLASS_RESULT else []
        print("\n".join([*lines, *result_lines(self.metrics, self.per_class, total, about)]))


def _percent(average_precisions: Tensor) -> list[float | None]:
    """Plain floats, None where undefined."""
    return [None if math.isnan(ap) else 100 * ap for ap in average_precisions.tolist()]


def _mean(values: list[float | None]) -> float:
    """Mean of the values that are defined."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined)
