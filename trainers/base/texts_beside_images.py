"""Labelled sentences that a method trains on beside the images."""

from __future__ import annotations

import torch

from loading.text_loader import LabelledTexts
from trainers.base.training_data import TrainingData


def texts_beside_images(data: TrainingData) -> LabelledTexts | None:
    """The sentences of DATASET.TEXT*, encoded.

    Args:
        data: whose loaders are built.

    Returns:
        None without captions, and where texts are trained on in place of images.

    Raises:
        ValueError: no sentence names a class, or a file breaks its format.
    """
    settings, dataset = data.cfg.DATASET, data.dataset
    captioned = settings.TEXTS or getattr(dataset, "captions", None) is not None
    if data.texts is not None or not captioned or not hasattr(dataset, "labelled_texts"):
        return None
    corpus = dataset.labelled_texts(settings)
    print("Training on texts beside images: " + ", ".join(corpus.notes))
    targets = torch.as_tensor(corpus.labels)  # [T, C]
    texts = data.labelled_texts(corpus.sentences, targets)
    _ = texts.cache  # now, with all threads, and before a step may be recorded
    return texts
