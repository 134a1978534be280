"""Registries of networks, empty until a plugin registers its own."""

from __future__ import annotations

from dassl.utils import Registry
from torch import nn

BACKBONE_REGISTRY = Registry("BACKBONE")
HEAD_REGISTRY = Registry("HEAD")
NETWORK_REGISTRY = Registry("NETWORK")


class Backbone(nn.Module):
    """Base class of backbones; a subclass sets `_out_features`, the width of its output."""

    @property
    def out_features(self) -> int | None:
        """Width of the output."""
        return vars(self).get("_out_features")


def build_backbone(name: str, verbose: bool = True, **kwargs: object) -> nn.Module:
    """The backbone of that name."""
    return BACKBONE_REGISTRY.build(name, verbose, **kwargs)


def build_head(name: str, verbose: bool = True, **kwargs: object) -> nn.Module:
    """The head of that name."""
    return HEAD_REGISTRY.build(name, verbose, **kwargs)


def build_network(name: str, verbose: bool = True, **kwargs: object) -> nn.Module:
    """The network of that name."""
    return NETWORK_REGISTRY.build(name, verbose, **kwargs)


__all__ = [
    "BACKBONE_REGISTRY",
    "HEAD_REGISTRY",
    "NETWORK_REGISTRY",
    "Backbone",
    "build_backbone",
    "build_head",
    "build_network",
]
