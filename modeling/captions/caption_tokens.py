"""Caption tokens of training images: truncation, choice among captions, missing ones."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from common.choices import check_choice
from common.shared import shared
from modeling.clip.tokenizer import CLIP, Tokenizer, tokenize_captions

SOURCES = {
    "given": "the image's own captions",
    "labels": "a sentence of its labels' names, which holds nothing but the labels (a control)",
    "shuffled": "another image's captions, drawn once (a control)",
}
TRUNCATIONS = {
    "words": "the whole words that fit 77 tokens",
    "char75": "the first 75 characters, as LMPT's release cuts them, words or not",
}
PICKS = {
    "concat": "all of an image's captions, one after the other",
    "first": "the first one",
    "random": "one of them, drawn anew in each epoch",
}
MISSING = {
    "skip": "an image without a caption takes no part in caption losses",
    "labels": "a sentence of its labels' names",
    "error": "refuse to train",
}


class CaptionTokens:
    """Token rows of every training image.

    Args:
        captions: of each image, empty where it has none; None for a set without captions.
        targets: [N, C] of 1, 0 or -1.
        classnames: C names.
        source: one of `SOURCES`.
        truncation: one of `TRUNCATIONS`.
        pick: one of `PICKS`.
        missing: one of `MISSING`.
        seed: of the shuffle.
        tokenizer: of the text tower.

    Attributes:
        texts: T of them, uncut but for `char75`.
        tokens: [T, 77] one row for each text, cut as `truncation` says.

    Raises:
        ValueError: an unknown choice, or captions are missing where they must not be.
    """

    def __init__(
        self,
        captions: Sequence[Sequence[str]] | None,
        targets: Tensor,
        classnames: Sequence[str],
        source: str = "given",
        truncation: str = "words",
        pick: str = "concat",
        missing: str = "skip",
        seed: int = 0,
        tokenizer: Tokenizer = CLIP,
    ) -> None:
        check_choice("INPUT.CAPTIONS", source, SOURCES)
        check_choice("INPUT.CAPTION_TRUNC", truncation, TRUNCATIONS)
        check_choice("INPUT.CAPTION_PICK", pick, PICKS)
        check_choice("INPUT.CAPTION_MISSING", missing, MISSING)
        named = source == "labels" or missing == "labels"
        sentences = [[label_sentence(row, classnames)] for row in targets] if named else []
        texts = sentences if source == "labels" else [list(own) for own in captions or sentences]
        if captions is None and source != "labels":
            if missing != "labels":
                raise ValueError(
                    "This method needs captions of the training images and the data set has none. "
                    "Add a captions file (docs/data.md), or set INPUT.CAPTION_MISSING labels."
                )
        if source == "shuffled":
            random.Random(seed).shuffle(texts)
        empty = sum(not own for own in texts)
        if empty and missing == "error":
            raise ValueError(
                f"{empty} of {len(texts)} training images have no caption. Complete the captions "
                "file, or set INPUT.CAPTION_MISSING skip or labels."
            )
        if missing == "labels":
            texts = [own or own_labels for own, own_labels in zip(texts, sentences, strict=True)]
        if pick == "concat":
            texts = [[" ".join(own)] if own else [] for own in texts]
        elif pick == "first":
            texts = [own[:1] for own in texts]
        self.texts = [
            text[:75] if truncation == "char75" else text for own in texts for text in own
        ]
        key = ("tokens", tokenizer, *self.texts)
        self.tokens = shared(key, lambda: tokenize_captions(self.texts, tokenizer))  # [T, 77]
        self._count = torch.tensor([len(own) for own in texts])  # [N]
        self._first = self._count.cumsum(0) - self._count  # [N]

    def to(self, device: torch.device) -> CaptionTokens:
        """Move everything to a device."""
        self.tokens = self.tokens.to(device)
        self._count, self._first = self._count.to(device), self._first.to(device)
        return self

    def rows(self, index: Tensor, sample_seed: Tensor) -> tuple[Tensor, Tensor]:
        """Which text stands for each image of a batch.

        Args:
            index: places in the training list [B].
            sample_seed: random numbers [B], one for each image, which pick among several captions.

        Returns:
            Rows of `tokens` [B], and whether the image has a text at all [B].
        """
        count = self._count[index]
        captioned = count > 0
        rows = self._first[index] + sample_seed.remainder(count.clamp(min=1))
        return rows.clamp(max=max(len(self.tokens) - 1, 0)), captioned


def label_sentence(targets: Tensor, classnames: Sequence[str]) -> str:
    """A sentence of the present classes: targets [C] -> "a photo of a cat, a dog and a tv."."""
    present = [classnames[c].replace("_", " ") for c in (targets == 1).nonzero().flatten().tolist()]
    if not present:
        return "a photo."
    named = [f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}" for name in present]
    head = ", ".join(named[:-1])
    return f"a photo of {head} and {named[-1]}." if head else f"a photo of {named[-1]}."
