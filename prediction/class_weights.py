"""A trained model as one matrix over the image tower's features, where it is one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from modeling.clip.precision import Precision
from modeling.encoders.features import Features
from modeling.encoders.text_encoder import TextEncoder
from modeling.heads.linear_head import Classifier
from modeling.heads.text_anchors import TextAnchors
from prediction.trained_model import TrainedModel

_PROBES = 32  # random features on which the matrix has to agree with the model


@dataclass(frozen=True)
class ClassWeights:
    """Logits = scale * (features @ text_features.T - offset), of L2-normalised image features.

    Attributes:
        text_features: [C, D], fp32. L2-normalised rows, except those of a linear classifier and of
            anchors (TARP).
        scale: scalar; 1 of a linear classifier.
        offset: [C]; from negative biases where the classes have some.
    """

    text_features: Tensor
    scale: Tensor
    offset: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """Logits [B, C] of L2-normalised image features [B, D]."""
        return self.scale * (features @ self.text_features.t() - self.offset)


def to_full_precision(run: TrainedModel) -> None:
    """Let a model compute in fp32 from here on, which loses nothing of half-precision weights.

    Args:
        run: changed in place; what it has computed before is forgotten.
    """
    clip = run.model.clip
    clip.clip_model.float()
    clip.text_encoder = TextEncoder(clip.clip_model)
    clip.precision = Precision("fp32", clip.device)
    vars(run).pop("text", None)


def class_weights(run: TrainedModel) -> ClassWeights:
    """The matrix, scale and offset that a model's logits of whole images come from.

    Args:
        run: in full precision (`to_full_precision`).

    Raises:
        ValueError: no matrix gives its logits; the message has the reason and what else there is.
    """
    model, name = run.model, run.cfg.TRAINER.NAME
    check_same_for_all_images(run)
    if run.cfg.INPUT.TEST_VIEWS:
        raise ValueError(
            f"{name} averages logits over views (INPUT.TEST_VIEWS), and one matrix sees one. Write "
            "a graph with all views, --onnx FILE.onnx, or add: INPUT.TEST_VIEWS ''"
        )
    if model.looks_at_regions(vars(model.options)):
        raise ValueError(
            f"{name} weighs the regions of an image, class by class; one matrix over features of "
            "whole images cannot do that. Write image tower and head as one graph instead: "
            "--onnx FILE.onnx"
        )
    if isinstance(model.learner, Classifier):
        head = model.learner.head
        found = ClassWeights(head.weight.detach(), torch.ones(()), -head.bias.detach())
    else:
        texts = run.text if isinstance(run.text, (list, tuple)) else [run.text]
        offset = getattr(model.scale, "offset", torch.zeros(()))
        text_features, scale = texts[0].detach().float(), model.scale.factor.detach()
        offset = offset.detach().expand(len(text_features))
        if isinstance(model.learner, TextAnchors):
            offset = offset - model.learner.class_bias.detach() / scale
        found = ClassWeights(text_features, scale, offset)
    _check(run, found)
    return found


def check_same_for_all_images(run: TrainedModel) -> None:
    """Refuse a method whose text features depend on the image, as CoCoOp's do.

    Raises:
        ValueError: with the reason.
    """
    if run.text is None and not isinstance(run.model.learner, Classifier):
        raise ValueError(
            f"{run.cfg.TRAINER.NAME} makes text features anew for each image, with the text tower: "
            "there are none to be exported. Use prediction.load_run, or train a method whose "
            "prompts do not depend on the image, such as CoOp."
        )


def _check(run: TrainedModel, weights: ClassWeights) -> None:
    """Compare with the model itself: a method may compute its logits in any other way."""
    generator = torch.Generator().manual_seed(0)
    width = weights.text_features.shape[1]
    features = F.normalize(torch.randn(_PROBES, width, generator=generator), dim=-1)
    features = features.to(run.device)
    with torch.inference_mode():
        expected = run.model.logits(Features(features), run.text).float()
    found = weights.logits(features)
    bound = 1e-4 * float(expected.abs().max() + weights.scale)
    difference = float((found - expected).abs().max())
    if not difference <= bound:
        raise ValueError(
            f"{run.cfg.TRAINER.NAME} computes its logits in another way than scale * (cosine - "
            f"offset): they differ by {difference:.3g}. Write image tower and head as one graph "
            "instead: --onnx FILE.onnx"
        )
