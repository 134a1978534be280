"""Checkpoints, parameter counts and frozen layers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from common.files import read_text
from common.rng_state import set_rng_state
from compat.checkpoint_reader import load_checkpoint
from compat.checkpoint_writer import save_checkpoint, without_module

__all__ = [
    "count_num_param",
    "init_network_weights",
    "load_checkpoint",
    "load_pretrained_weights",
    "open_all_layers",
    "open_specified_layers",
    "resume_from_checkpoint",
    "save_checkpoint",
]

_MAX_POINTER = 10_000  # bytes of the file that names a checkpoint


def resume_from_checkpoint(
    fdir: str,
    model: nn.Module,
    optimizer: Optimizer | None = None,
    scheduler: LRScheduler | None = None,
) -> int:
    """Continue from the checkpoint that `fdir/checkpoint` names, random generators included.

    Returns:
        The number of epochs done.
    """
    pointer = read_text(os.path.join(fdir, "checkpoint"), _MAX_POINTER)
    path = os.path.join(fdir, pointer.partition("\n")[0].strip())
    print(f'Loading checkpoint from "{path}"')
    checkpoint = load_checkpoint(path)
    model.load_state_dict(checkpoint["state_dict"])
    print("Loaded model weights")
    for what, part in (("optimizer", optimizer), ("scheduler", scheduler)):
        if part is not None and checkpoint.get(what) is not None:
            part.load_state_dict(checkpoint[what])
            print(f"Loaded {what}")
    if "rng_state" in checkpoint:  # absent from files that Dassl itself wrote
        set_rng_state(checkpoint["rng_state"])
    print(f"Previous epoch: {checkpoint['epoch']}")
    return checkpoint["epoch"]


def load_pretrained_weights(model: nn.Module, weight_path: str) -> None:
    """Load the weights that match the model in name and shape; say which do not.

    Args:
        model: changed in place.
        weight_path: checkpoint with a `state_dict`, or a plain state dict.
    """
    checkpoint = load_checkpoint(weight_path)
    saved = without_module(checkpoint.get("state_dict", checkpoint))
    wanted = model.state_dict()
    matched = {k: v for k, v in saved.items() if k in wanted and wanted[k].shape == v.shape}
    if not matched:
        warnings.warn(f"Cannot load {weight_path} (check the key names manually)", stacklevel=2)
        return
    model.load_state_dict({**wanted, **matched})
    print(f"Successfully loaded pretrained weights from {weight_path}")
    discarded = [name for name in saved if name not in matched]
    if discarded:
        print(f"Layers discarded due to unmatched keys or size: {discarded}")


def count_num_param(
    model: nn.Module | None = None, params: Iterable[nn.Parameter | dict] | None = None
) -> int:
    """Number of scalars in a model, or in parameters or optimiser groups.

    Raises:
        ValueError: neither is given.
    """
    if model is not None:
        params = model.parameters()
    if params is None:
        raise ValueError("count_num_param() needs a model or params, got neither")
    count = 0
    for param in params:
        group = param["params"] if isinstance(param, dict) else param
        group = [group] if isinstance(group, torch.Tensor) else group
        count += sum(tensor.numel() for tensor in group)
    return count


def open_all_layers(model: nn.Module) -> None:
    """Train all of a model: training mode, all gradients on."""
    model.train()
    model.requires_grad_(True)


def open_specified_layers(model: nn.Module, open_layers: str | list[str]) -> None:
    """Train only some direct children of a model; the others are frozen and in eval mode.

    Raises:
        ValueError: the model has no such child.
    """
    model = model.module if isinstance(model, nn.DataParallel) else model
    open_layers = [open_layers] if isinstance(open_layers, str) else list(open_layers)
    children = dict(model.named_children())
    for layer in open_layers:
        if layer not in children:
            raise ValueError(f"{layer} is not an attribute of the model, choose from {[*children]}")
    for name, child in children.items():
        child.train(name in open_layers)
        child.requires_grad_(name in open_layers)


def init_network_weights(model: nn.Module, init_type: str = "normal", gain: float = 0.02) -> None:
    """Initialise the linear, convolution and normalisation layers of a model.

    Args:
        model: changed in place.
        init_type: normal | xavier | kaiming | orthogonal, for linear and convolution layers.
        gain: standard deviation (normal) or gain (xavier, orthogonal).

    Raises:
        ValueError: unknown `init_type`.
    """
    initialisers = {
        "normal": lambda weight: nn.init.normal_(weight, 0.0, gain),
        "xavier": lambda weight: nn.init.xavier_normal_(weight, gain),
        "kaiming": lambda weight: nn.init.kaiming_normal_(weight, mode="fan_in"),
        "orthogonal": lambda weight: nn.init.orthogonal_(weight, gain),
    }
    if init_type not in initialisers:
        raise ValueError(f"init_type must be one of {[*initialisers]}, got {init_type}")
    for module in model.modules():
        kind = type(module).__name__
        is_norm = "BatchNorm" in kind or "InstanceNorm" in kind
        if not (is_norm or "Conv" in kind or "Linear" in kind):
            continue
        if isinstance(getattr(module, "weight", None), torch.Tensor):
            nn.init.ones_(module.weight) if is_norm else initialisers[init_type](module.weight)
        if isinstance(getattr(module, "bias", None), torch.Tensor):
            nn.init.zeros_(module.bias)
