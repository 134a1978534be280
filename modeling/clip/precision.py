"""The four precisions a frozen CLIP can run in.

Contexts, logits and losses stay in fp32 in each of them: fp16 values near 0.02, where contexts
live, are 1.5e-5 apart, so a step of lr 5e-4 would often round to nothing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from common.choices import check_choice

PRECISIONS = {
    "fp32": "weights and arithmetic in float32",
    "fp16": "weights and arithmetic in float16",
    "bf16": "weights and arithmetic in bfloat16",
    "amp": "float32 weights, arithmetic autocast to float16 (bfloat16 on a CPU)",
}
TRAINABLE = ("fp32", "amp")  # in which weights of a tower can learn
_WEIGHTS = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Precision:
    """How the frozen towers compute.

    Args:
        name: one of `PRECISIONS`.
        device: where the towers lie.

    Attributes:
        weights: dtype of the towers' weights.
        scaler: gradient scaler; one that does nothing except under fp16 autocast.

    Raises:
        ValueError: an unknown name, or another than fp32 on Apple's GPU.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        check_choice("PREC", name, PRECISIONS)
        if device.type == "mps" and name != "fp32":
            raise ValueError(f"PREC must be fp32 on Apple's GPU, got {name}")
        self.name = name
        self.device = device
        self.weights = _WEIGHTS.get(name, torch.float32)
        self._autocast = torch.float16 if device.type == "cuda" else torch.bfloat16
        scale = name == "amp" and self._autocast is torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=scale)

    def autocast(self) -> AbstractContextManager:
        """Context in which the towers run."""
        if self.name == "amp":
            return torch.autocast(self.device.type, dtype=self._autocast)
        return nullcontext()
