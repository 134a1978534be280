"""Trainers on the small set, and what their first step computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import train
from loading.images import read_picture
from loading.transforms import fixed_transform
from modeling.encoders.features import Features
from modeling.prompts.prompt_model import Batch
from tests.helpers.models.small_clip import openai_weights, random_clip
from tests.helpers.sets.small_set import arguments, write_set


def write_calm_set(root: Path, tower: str = "ViT") -> None:
    """`write_set` with a text tower in which rounding stays small, so that gradients compare."""
    write_set(root, tower)
    clip_model = random_clip(tower)
    for parameter in clip_model.transformer.parameters():
        parameter.data /= 4
    torch.save(openai_weights(clip_model), root / "mine" / "clip.pt")


def build(root: Path, name: str, output: Path, *more: object, tower: str = "ViT") -> Any:
    """A trainer of train.py's, on pictures without flips."""
    options = ("INPUT.TRANSFORMS", "('normalize',)", *more)
    return built(arguments(root, name, output, *map(str, options), tower=tower))


def built(words: list[str]) -> Any:
    """The trainer of a train.py command."""
    return train.build_trainer(train.build_cfg(train.build_parser().parse_intermixed_args(words)))


def first_step(trainer: Any) -> tuple[dict[str, Any], Tensor, Tensor, Tensor]:
    """The first batch, its targets [B, C], logits [B, C] and loss."""
    batch = next(iter(trainer.train_loader_x))
    views, targets = trainer.parse_batch_train(batch)
    text = trainer.model.text_features()
    batch["features"] = views
    logits = trainer.model.logits(views, text)
    loss = trainer.model.loss(logits, targets, loss_batch(batch, views, text))["loss"]
    return batch, targets, logits, loss


def loss_batch(batch: dict[str, Any], features: Features, text: Any) -> Batch:
    """What a loss sees of a loader's batch."""
    return Batch(features, text, batch["index"], batch["sample_seed"])


def image_features(trainer: Any, batch: dict[str, Any]) -> Tensor:
    """Features [B, D] of a batch's pictures, read and encoded with CLIP's own method."""
    inputs = trainer.cfg.INPUT
    transform = fixed_transform(
        inputs.SIZE, inputs.RESIZE, inputs.INTERPOLATION, inputs.PIXEL_MEAN, inputs.PIXEL_STD
    )
    images = torch.stack([transform(read_picture(path)) for path in batch["impath"]])
    features = trainer.clip.clip_model.encode_image(images)
    return features / features.norm(dim=-1, keepdim=True)


def assert_same_gradients(ours: Tensor, theirs: Tensor, parameters: list[Tensor]) -> None:
    """Both losses have the same gradients, up to fp32's noise."""
    assert parameters
    found, expected = (torch.autograd.grad(loss, parameters) for loss in (ours, theirs))
    for one, other in zip(found, expected, strict=True):
        assert float(other.abs().max()) > 0
        assert (one - other).abs().max() <= 1e-4 * other.abs().max()
