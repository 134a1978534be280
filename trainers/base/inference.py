"""Logits of many batches from text features that are computed once."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from modeling.encoders.features import Features
from modeling.prompts.prompt_model import PromptModel


class Inference:
    """A model's logits, with its text features kept from batch to batch.

    They are of the contexts as they were at the first batch: call `forget_texts` where the contexts
    may have changed.

    Args:
        model: the method's model.
    """

    def __init__(self, model: PromptModel) -> None:
        self.model = model
        self.forget_texts()

    def forget_texts(self) -> None:
        """Compute text features anew for the next batch."""
        self._texts: Any = None

    def __call__(self, features: Features) -> Tensor:
        """Logits [B, C] of the features of B images."""
        if self._texts is None:
            self._texts = self.model.autocast_text_features()
        return self.model.mean_logits(features, self._texts)
