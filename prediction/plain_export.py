"""A trained model as one safetensors file that needs no code of this project (docs/export.md)."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from common.files import write_whole
from modeling.clip.architecture import not_openais
from modeling.tuning.lora import merge_lora
from modeling.tuning.towers import IMAGE, PARTS
from modeling.tuning.visual_prompts import VisualPrompts
from prediction.class_weights import class_weights, to_full_precision
from prediction.export_metadata import described, threshold_log_odds
from prediction.trained_model import TrainedModel

TOWER = "visual."  # before the names of the image tower's tensors, as in CLIP's own files


def write_plain(run: TrainedModel, path: str | Path, image_tower: bool = True) -> None:
    """Write text features, scale, offset, thresholds and the image tower as a safetensors file.

    Args:
        run: computes in fp32 from here on, and low-rank changes of its tower are merged into it.
        path: of the file, which is written whole or not at all.
        image_tower: whether the image tower goes along; without it the file is small, and fits
            the published CLIP that the run was trained on.

    Raises:
        ValueError: the method cannot be exported in this form, needs its image tower, or has one
            that `clip.model` cannot build.
        OSError: the file cannot be written.
    """
    if not image_tower and run.tunes_image_encoder:
        raise ValueError(
            f"{run.cfg.TRAINER.NAME} has tuned the image tower, and its classes fit no other: "
            "export it without --no-image-tower."
        )
    to_full_precision(run)
    weights, log_odds = class_weights(run), threshold_log_odds(run)
    tensors = {
        "text_features": weights.text_features,
        "logit_scale": weights.scale,
        "logit_offset": weights.offset,
        "thresholds": log_odds.sigmoid(),
        "threshold_log_odds": log_odds,
    }
    metadata = described(run)
    if image_tower:
        visual = _plain_tower(run)
        if differences := not_openais(visual):
            raise ValueError(
                f"The image tower has {' and '.join(differences)}, which plain CLIP code cannot "
                "build: export it with --onnx, or without the tower (--no-image-tower)."
            )
        tensors |= {TOWER + name: _compact(value) for name, value in visual.state_dict().items()}
        kind, arguments = tower_arguments(visual)
        metadata |= {"image_tower": kind, "image_tower_arguments": json.dumps(arguments)}
    content = save({name: t.contiguous().cpu() for name, t in tensors.items()}, metadata)
    write_whole(path, lambda file: file.write(content))


def _plain_tower(run: TrainedModel) -> nn.Module:
    """The image tower, with all that was tuned in weights of its own.

    Raises:
        ValueError: visual prompts were trained, which are no weights of it.
    """
    visual = run.model.clip.clip_model.visual
    if isinstance(getattr(run.model.learner, PARTS[IMAGE], None), VisualPrompts):
        raise ValueError(
            "The image tower reads visual prompts (TRAINER.TUNE.NAME vpt), which plain CLIP code "
            "cannot: write tower and head as one graph instead: --onnx FILE.onnx"
        )
    merge_lora(visual)
    return visual


def tower_arguments(visual: nn.Module) -> tuple[str, dict[str, object]]:
    """The class of `clip.model` that an image tower is, and what it was built with."""
    if hasattr(visual, "attnpool"):
        layers = [len(getattr(visual, f"layer{i}")) for i in (1, 2, 3, 4)]
        return "ModifiedResNet", {
            "layers": layers,
            "output_dim": visual.output_dim,
            "heads": visual.attnpool.num_heads,
            "input_resolution": visual.input_resolution,
            "width": visual.layer1[0].conv1.out_channels,
        }
    width, _, patch, _ = visual.conv1.weight.shape
    return "VisionTransformer", {
        "input_resolution": visual.input_resolution,
        "patch_size": patch,
        "width": width,
        "layers": len(visual.transformer.resblocks),
        "heads": visual.transformer.resblocks[0].attn.num_heads,
        "output_dim": visual.output_dim,
    }


def _compact(value: Tensor) -> Tensor:
    """Half precision where that loses nothing, as of CLIP's published weights."""
    if not value.is_floating_point():
        return value
    half = value.half()
    return half if torch.equal(half.to(value.dtype), value) else value
