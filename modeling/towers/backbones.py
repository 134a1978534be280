"""Backbones by name: CLIPs in this project's own architecture, others in that of their library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.readers.json_files import read_json
from modeling.clip.clip_file import AUTO, read_clip
from modeling.clip.configs import OPEN_CLIP_CONFIG, is_plain_clip, open_clip_config
from modeling.clip.loader import build_clip, load_clip, weight_path
from modeling.clip.precision import Precision
from modeling.towers.open_clip_model import load_open_clip
from modeling.towers.open_clip_names import PREFIX, OpenClipModel, resolve
from modeling.towers.siglip_model import is_siglip, load_siglip


@dataclass(frozen=True)
class Backbone:
    """Where a backbone comes from.

    Attributes:
        name: as the user wrote it.
        weights: its weight file.
        open_clip: the model of open_clip's that it is; None if it is none by name or config.
        is_siglip: whether it is a SigLIP of Hugging Face's.
    """

    name: str
    weights: Path
    open_clip: OpenClipModel | None = None
    is_siglip: bool = False

    @property
    def is_clip(self) -> bool:
        """Whether both towers are CLIP's own, which this project builds itself."""
        return not self.is_siglip and (
            self.open_clip is None or is_plain_clip(self.open_clip.config)
        )

    def load(
        self,
        precision: str = "fp32",
        device: str | torch.device = "cpu",
        activation: str = AUTO,
    ) -> nn.Module:
        """Load it, frozen and in eval mode.

        Args:
            precision: one of `modeling.clip.precision.PRECISIONS`.
            device: where to put it.
            activation: MODEL.BACKBONE.ACTIVATION; "auto" where the file or its config tells.

        Returns:
            A `clip.model.CLIP` where both towers are CLIP's, else a `DualTower`.

        Raises:
            ImportError: a library that it needs is missing.
            ValueError: its files hold no model that can be used.
        """
        weights = Precision(precision, torch.device(device)).weights
        if self.is_siglip:
            return load_siglip(self.weights, weights).to(device)
        if self.open_clip is None:
            return load_clip(str(self.weights), precision, device, activation)
        if not self.is_clip:
            return load_open_clip(self.open_clip, weights, activation).to(device)
        config = open_clip_config(self.weights, self.open_clip.config)
        read = read_clip(self.weights, activation, config)
        print(read.note or f"{self.weights.name}: OpenAI's weights")
        return build_clip(read.state_dict, weights, self.weights, read.architecture).to(device)


def find_backbone(name: str) -> Backbone:
    """Find the weights of a backbone; downloads published ones on first use.

    Args:
        name: a name or path that `weight_path` takes, or `open_clip:ARCHITECTURE[/TAG or /FILE]`.

    Raises:
        ImportError: a library that it needs is missing.
        ValueError: there is no such backbone.
        ConnectionError: a published file that cannot be downloaded.
    """
    if name.startswith(PREFIX):
        model = resolve(name)
        return Backbone(name, model.weights, model)
    weights = weight_path(name)
    if not Path(name).expanduser().exists():  # a published name
        return Backbone(name, weights)
    if not weights.name.startswith("open_clip") and is_siglip(weights.parent):
        return Backbone(name, weights, is_siglip=True)
    config = _open_clip_config(weights.parent / OPEN_CLIP_CONFIG)
    if config is None or is_plain_clip(config):
        return Backbone(name, weights)  # read with the config beside it, as any CLIP
    return Backbone(name, weights, OpenClipModel(name, config, weights))


def _open_clip_config(path: Path) -> dict[str, Any] | None:
    """The model config in an open_clip_config.json; None if there is none."""
    content = read_json(path) if path.is_file() else None
    config = content.get("model_cfg", content) if isinstance(content, dict) else None
    is_whole = isinstance(config, dict) and {"vision_cfg", "text_cfg"} <= set(config)
    return config if is_whole else None


def load_backbone(
    name: str,
    precision: str = "fp32",
    device: str | torch.device = "cpu",
    activation: str = AUTO,
) -> nn.Module:
    """Load a frozen backbone; see `find_backbone` for names and `Backbone.load` for the rest."""
    return find_backbone(name).load(precision, device, activation)
