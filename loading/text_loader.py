"""Captions in place of images, or beside them: encoded once, or in every step if too many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from loading.cache.feature_cache import FeatureCache, batches
from loading.samplers import EpochBatchSampler, Sample
from modeling.clip.tokenizer import CLIP, Tokenizer, tokenize_captions
from modeling.encoders.features import Features, join

_CHUNK = 256  # captions a forward pass
_CACHE_BYTES = 2**30  # of features held on the device


class LabelledTexts:
    """N labelled sentences and their features.

    The text tower is frozen, so encoding once gives what encoding in every step would give. It is
    done when the first features are asked for.

    Args:
        sentences: N texts, cut to the whole words that fit.
        targets: [N, C].
        encode: token ids [B, 77] to `Features`; called without gradients.
        device: where cached features are kept.
        limit: features of more bytes are encoded in every step instead.
        tokenizer: of the text tower.
    """

    def __init__(
        self,
        sentences: Sequence[str],
        targets: Tensor,
        encode: Callable[[Tensor], Features],
        device: torch.device,
        limit: int = _CACHE_BYTES,
        tokenizer: Tokenizer = CLIP,
    ) -> None:
        self.sentences, self.targets = list(sentences), targets
        self.encode, self.device, self.limit = encode, device, limit
        self.tokens = tokenize_captions(self.sentences, tokenizer)  # [N, 77]
        self._ends = tokenizer.end_positions(self.tokens)  # [N]

    def draw(self, numbers: Tensor) -> tuple[Features, Tensor]:
        """Features and targets [B, C] of B sentences, on the device.

        Args:
            numbers: random integers [B] on the device, 0 or more; each picks a sentence by its
                remainder.
        """
        rows = numbers % len(self.sentences)
        if self.cache is None:
            tokens, targets = self._on_device
            return self.encode(tokens[rows]), targets[rows]
        batch = self.cache.batch((), torch.stack([rows, torch.zeros_like(rows), numbers]))
        return batch["features"], batch["label"]

    @cached_property
    def _on_device(self) -> tuple[Tensor, Tensor]:
        """Tokens [N, 77] and targets [N, C]."""
        return self.tokens.to(self.device), self.targets.to(self.device)

    @cached_property
    def cache(self) -> FeatureCache | None:
        """Features of all sentences; None where they would take more than the limit."""
        probe = self.encode(self.tokens[:1])
        width = probe.global_features.shape[1]
        words = 0 if probe.mask is None else int(self._ends.max()) + 1
        size = len(self.tokens) * (4 + 2 * words) * width  # fp32 global, fp16 local features
        if size > self.limit:
            print(f"Encoding in every step: all texts' features would take {size / 2**30:.1f} GiB.")
            return None
        # Sort by length: padding costs as much compute as words.
        order = self._ends.argsort()
        parts = tqdm(order.split(_CHUNK), desc="Encode texts", leave=False)
        features = join([self.encode(self.tokens[part]) for part in parts])
        features = features[order.argsort().to(self.device)]
        return FeatureCache([features], self.targets.to(self.device), self.sentences)


class TextLoader:
    """Data loader of sentence features, in the order of a batch sampler.

    Args:
        texts: the sentences.
        sampler: yields lists of samples; a sample's index is a sentence.
    """

    def __init__(self, texts: LabelledTexts, sampler: EpochBatchSampler) -> None:
        self.texts, self.sampler = texts, sampler

    @property
    def cache(self) -> FeatureCache | None:
        """As of `LabelledTexts`."""
        return self.texts.cache

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self.cache is None:
            yield from map(self._encoded, self.sampler)
        else:
            yield from batches(self.cache, self.sampler)

    def _encoded(self, samples: Sequence[Sample]) -> dict[str, Any]:
        texts, index = self.texts, torch.tensor([sample.index for sample in samples])
        return {
            "features": texts.encode(texts.tokens[index]),
            "label": texts.targets[index],
            "index": index,
            "sample_seed": torch.tensor([sample.seed for sample in samples]),
            "impath": [texts.sentences[sample.index] for sample in samples],
        }
