"""Pre-train the tiny CLIP of the embedded default on freshly drawn pictures and captions.

The model is the `clip` package's own architecture with a narrow ResNet tower. It learns from
pictures in the calm `PRETRAIN` style; ShapesLT is drawn in the harsher `BENCHMARK` style, so its
zero-shot score there is good but not perfect. No picture or caption is ever shown twice.

    python scripts/tiny_clip/pretrain.py --output assets/tiny_clip.safetensors --compile

It runs on the CPU. Kill it at any time; the same command goes on from the last checkpoint, which
lies beside the output until that is written.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from compat.checkpoint_reader import load_checkpoint  # noqa: E402
from datasets.shapes.glyphs import SHAPE_NAMES  # noqa: E402
from datasets.shapes.renderer import BENCHMARK, PRETRAIN, SIDE, Style  # noqa: E402
from modeling.clip.loader import import_clip, load_clip, tokenize  # noqa: E402
from scripts.tiny_clip.data import (  # noqa: E402
    TEXT_TOKENS,
    Batch,
    DrawnBatches,
    Vocabulary,
    class_table,
    draw_pictures,
    stack_images,
)

TEXT_WIDTH = 128  # CLIP makes width / 64 heads
EMBED_DIM = 128
MAX_LOGIT_SCALE = math.log(100)  # CLIP's own bound
MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's pixel normalisation
STD = (0.26862954, 0.26130258, 0.27577711)


def soft_contrastive_loss(logits: Tensor, matches: Tensor) -> Tensor:
    """CLIP's symmetric cross-entropy with several right answers in a batch.

    Args:
        logits: [B, T], images by texts.
        matches: [B, T] bool, whether the text is true of the image. The right answers share the
            target mass of a row or a column equally; a text that is true of no image is only a
            wrong answer. With the unit matrix this is CLIP's loss.
    """
    weights = matches.to(logits.dtype)
    by_image = (weights * F.log_softmax(logits, dim=1)).sum(1) / weights.sum(1).clamp(min=1)  # [B]
    by_text = (weights * F.log_softmax(logits, dim=0)).sum(0) / weights.sum(0).clamp(min=1)  # [T]
    return -(by_image[matches.any(1)].mean() + by_text[matches.any(0)].mean()) / 2


def true_texts(batch: Batch) -> Tensor:
    """[B, T] bool: text j mentions only what picture i shows.

    Two pictures of stars may both be called "a star": neither is a wrong answer for the other.
    """
    absent = (~batch.shown).float()  # [B, C]
    return absent @ batch.mentioned.float().T == 0


def build_model(vocabulary_size: int, width: int, text_layers: int) -> nn.Module:
    """A `clip.model.CLIP` with a ResNet tower of four blocks.

    Args:
        vocabulary_size: rows K of the token embedding.
        width: channels of the first ResNet stage, a multiple of 4.
        text_layers: transformer layers of the text tower.
    """
    import_clip()
    from clip.model import CLIP

    return CLIP(
        embed_dim=EMBED_DIM,
        image_resolution=SIDE,
        vision_layers=(1, 1, 1, 1),
        vision_width=width,
        vision_patch_size=None,
        context_length=77,
        vocab_size=vocabulary_size,
        transformer_width=TEXT_WIDTH,
        transformer_heads=TEXT_WIDTH // 64,
        transformer_layers=text_layers,
    )


def normalise(images: Tensor) -> Tensor:
    """uint8 pixels [B, 3, H, W] to CLIP's normalised floats."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (images.float() / 255 - mean) / std


def training_step(model: nn.Module, batch: Batch) -> Tensor:
    """Loss of one batch, with the towers in bf16 and the logits in fp32."""
    with torch.autocast("cpu", torch.bfloat16):
        image_features = model.encode_image(normalise(batch.images))
        text_features = model.encode_text(batch.tokens)
    image_features = F.normalize(image_features.float(), dim=-1)
    text_features = F.normalize(text_features.float(), dim=-1)
    logits = model.logit_scale.exp() * image_features @ text_features.T  # [B, T]
    return soft_contrastive_loss(logits, true_texts(batch))


@torch.no_grad()
def zero_shot_map(model: nn.Module, style: Style, images: int, seed: int) -> float:
    """Mean average precision in percent of "a photo of a {name}." on new pictures of a style.

    Args:
        model: a CLIP in eval mode with the full vocabulary.
        style: how the pictures are drawn.
        images: number of pictures.
        seed: of the pictures.
    """
    from sklearn.metrics import average_precision_score

    pictures = draw_pictures(
        images, style, np.random.default_rng([seed, 0, 1])
    )  # no step's pictures
    prompts = tokenize([f"a photo of a {name}." for name in SHAPE_NAMES])
    text_features = F.normalize(model.encode_text(prompts), dim=-1)
    image_features = [
        F.normalize(model.encode_image(normalise(chunk)), dim=-1)
        for chunk in stack_images(pictures).split(250)
    ]
    scores = (torch.cat(image_features) @ text_features.T).numpy()  # [N, C]
    targets = class_table([picture.class_ids for picture in pictures]).numpy()
    return 100 * float(average_precision_score(targets, scores, average="macro"))


def export(model: nn.Module, vocabulary: Vocabulary, path: Path) -> None:
    """Write the asset: OpenAI's parameter names, fp16, only the used rows of the embedding."""
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    tensors["token_embedding.rows"] = tensors.pop("token_embedding.weight")
    positions = tensors["positional_embedding"]  # [77, E]
    positions[TEXT_TOKENS:] = positions[TEXT_TOKENS - 1]  # never trained: go on as the last one
    tensors = {n: v.half() if v.is_floating_point() else v for n, v in tensors.items()}
    tensors["token_embedding.ids"] = vocabulary.ids.int()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_bytes(save({name: value.contiguous() for name, value in tensors.items()}))
    os.replace(partial, path)


class Checkpoint:
    """Training state in one file, replaced atomically."""

    def __init__(self, path: Path, settings: dict[str, object]) -> None:
        self.path, self.settings = path, settings

    def save(self, step: int, **parts: nn.Module | torch.optim.Optimizer) -> None:
        """Keep the state after `step` steps."""
        state = {name: part.state_dict() for name, part in parts.items()}
        state.update(step=step, settings=json.dumps(self.settings))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".part")
        torch.save(state, partial)
        os.replace(partial, self.path)

    def restore(self, **parts: nn.Module | torch.optim.Optimizer) -> int:
        """Load the state if there is one; return the number of steps done.

        Raises:
            ValueError: the checkpoint was made with other settings.
        """
        if not self.path.exists():
            return 0
        state = load_checkpoint(str(self.path))
        found = json.loads(state["settings"])
        if found != self.settings:
            raise ValueError(
                f"{self.path} belongs to {found}, but this run has {self.settings}. Remove it, or "
                "give another --output."
            )
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return state["step"]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--steps", type=int, default=2200, help="optimiser steps")
    parser.add_argument("--batch-size", type=int, default=128, help="pairs per step")
    parser.add_argument("--lr", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--weight-decay", type=float, default=0.05, help="of matrices only")
    parser.add_argument("--width", type=int, default=16, help="channels of the first ResNet stage")
    parser.add_argument("--text-layers", type=int, default=2, help="layers of the text tower")
    parser.add_argument("--seed", type=int, default=1, help="of weights, pictures and texts")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw pictures")
    parser.add_argument("--threads", type=int, default=1, help="of the training process")
    parser.add_argument(
        "--compile", action="store_true", help="fuse the towers (needs a C++ compiler; 2x faster)"
    )
    parser.add_argument("--save-every", type=int, default=100, help="steps between checkpoints")
    parser.add_argument("--eval-images", type=int, default=1000, help="pictures per style to test")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train, export, and return the zero-shot mAP in percent by style."""
    args = parse_arguments(arguments)
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    batches = DrawnBatches(args.steps, args.batch_size, args.seed)
    model = build_model(len(batches.vocabulary), args.width, args.text_layers)
    optimizer = torch.optim.AdamW(parameter_groups(model, args.weight_decay), lr=args.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, args.lr, total_steps=args.steps, pct_start=0.05
    )
    fixed = ("steps", "batch_size", "lr", "weight_decay", "width", "text_layers", "seed")
    settings = {key: getattr(args, key) for key in fixed}
    checkpoint = Checkpoint(args.output.with_suffix(".checkpoint"), settings)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    done = checkpoint.restore(**parts)
    loader = DataLoader(
        batches, sampler=range(done, args.steps), batch_size=None, num_workers=args.workers
    )
    model.train()
    if args.compile:
        model.visual.compile()
        model.transformer.compile()
    start = time.monotonic()
    bar = tqdm(loader, initial=done, total=args.steps, unit="step", mininterval=5)
    for step, batch in enumerate(bar, start=done + 1):
        loss = training_step(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=MAX_LOGIT_SCALE)
        bar.set_postfix(loss=f"{loss.item():.3f}", scale=f"{model.logit_scale.exp().item():.1f}")
        if step % args.save_every == 0 or step == args.steps:
            checkpoint.save(step, **parts)
    minutes = (time.monotonic() - start) / 60
    export(model, batches.vocabulary, args.output)
    checkpoint.path.unlink(missing_ok=True)
    trained = load_clip(str(args.output))
    styles = {"PRETRAIN": PRETRAIN, "BENCHMARK": BENCHMARK}
    scores = {n: zero_shot_map(trained, s, args.eval_images, args.seed) for n, s in styles.items()}
    print(
        f"{args.output}: {args.output.stat().st_size / 1e6:.2f} MB, {args.steps - done} steps in "
        f"{minutes:.1f} minutes on {args.threads} threads and {args.workers} drawing processes"
    )
    for name, score in scores.items():
        print(f"zero-shot mAP in the {name} style: {score:.1f}")
    return scores


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Matrices and kernels decay; biases, normalisations, embeddings and the scale do not."""
    decays = {
        name: parameter.ndim > 1 and "embedding" not in name
        for name, parameter in model.named_parameters()
    }
    return [
        {
            "params": [p for name, p in model.named_parameters() if decays[name] is wanted],
            "weight_decay": weight_decay if wanted else 0.0,
        }
        for wanted in (True, False)
    ]


if __name__ == "__main__":
    main()
