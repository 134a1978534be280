"""The device that a run computes on: a CUDA GPU, a CPU, or Apple's GPU where it is asked for."""

from __future__ import annotations

import os

import torch

from common.choices import check_choice

VARIABLE = "LMPT_DEVICE"
_DEVICES = {
    "auto": "a CUDA GPU where there is one, else the CPU",
    "mps": "Apple's GPU (Metal Performance Shaders)",
}


def asks_for_mps() -> bool:
    """Whether the environment variable LMPT_DEVICE asks for Apple's GPU.

    It is no config key: what a run computes on says nothing of its experiment, and its config.yaml
    is read on other machines.

    Raises:
        ValueError: it is neither "auto" nor "mps".
    """
    value = os.environ.get(VARIABLE) or "auto"
    check_choice(VARIABLE, value, _DEVICES)
    return value == "mps"


def run_device(use_cuda: bool) -> torch.device:
    """The device of a training or an evaluation.

    Args:
        use_cuda: USE_CUDA.

    Raises:
        ValueError: LMPT_DEVICE has an unknown value, or is "mps" where torch finds no Apple GPU.
    """
    if asks_for_mps():
        if not torch.backends.mps.is_available():
            raise ValueError(
                f"{VARIABLE}=mps needs Apple's GPU, and torch finds none here. Unset {VARIABLE}."
            )
        return torch.device("mps")
    return torch.device("cuda" if use_cuda and torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """What logs and results.json call a device: a CUDA GPU by its model, others by their kind."""
    return torch.cuda.get_device_name() if device.type == "cuda" else device.type
