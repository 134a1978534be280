"""Training captions that lie nearest to each class."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from dassl.data.datasets import build_dataset
from torch import Tensor
from tqdm import tqdm

import datasets  # noqa: F401 - registers the data sets
from modeling.clip.tokenizer import tokenize_captions
from prediction import TrainedModel

_BATCH = 128


def training_captions(run: TrainedModel, count: int) -> tuple[list[str], int]:
    """Different captions of a run's training images.

    Args:
        run: whose config names the data set.
        count: captions at most; of more, every k-th is taken.

    Returns:
        The captions, and how many different ones there are.

    Raises:
        FileNotFoundError: the data set's folder, or a file in it, is not there.
        ValueError: its files are damaged, or there are no captions.
    """
    cfg = run.cfg.clone()
    cfg.defrost()
    cfg.DATASET.TRAIN_PICTURES, cfg.VERBOSE = True, False
    if not os.path.isdir(os.path.expanduser(cfg.DATASET.ROOT)):
        raise FileNotFoundError(
            f"The run's DATASET.ROOT {cfg.DATASET.ROOT} is not there; start from the folder that "
            "train.py was started from."
        )
    captions = build_dataset(cfg).captions
    texts = list(dict.fromkeys(text for own in captions or () for text in own))
    if not texts:
        raise ValueError(f"{cfg.DATASET.NAME} has no captions.")
    places = range(0, len(texts), -(-len(texts) // count))
    return [texts[place] for place in places], len(texts)


def caption_cosines(run: TrainedModel, captions: Sequence[str]) -> Tensor:
    """Similarity [N, C] of captions, in place of images, and the classes, on the CPU.

    Where a class has one text feature and there are no regions, it is the cosine of the caption's
    text feature and the class's.

    Args:
        run: a trained model.
        captions: N texts.
    """
    tokens = tokenize_captions(captions, run.model.clip.tokenizer)  # [N, 77]
    found = []
    batches = tokens.split(_BATCH)
    with torch.inference_mode():
        for batch in tqdm(batches, f"Captions, {run.name}", disable=len(batches) < 4, leave=False):
            features = run.model.clip.encode_texts(batch.to(run.device))
            found.append(run.model.cosines(features, run.text).float().cpu())
    return torch.cat(found)


def nearest_captions(
    cosines: Tensor, captions: Sequence[str], count: int
) -> list[list[tuple[float, str]]]:
    """The captions that are most similar to each class, with their similarity.

    Args:
        cosines: [N, C] of `caption_cosines`.
        captions: N texts.
        count: of each class at most.
    """
    best = cosines.topk(min(count, len(cosines)), dim=0)
    return [
        [(value, captions[place]) for value, place in zip(values, places, strict=True)]
        for values, places in zip(best.values.T.tolist(), best.indices.T.tolist(), strict=True)
    ]
