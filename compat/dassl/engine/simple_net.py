"""The classifier that trainers build unless they bring their own model."""

from __future__ import annotations

from dassl.modeling import build_backbone, build_head
from torch import Tensor, nn
from yacs.config import CfgNode


class SimpleNet(nn.Module):
    """Registered backbone, registered head (optional) and a linear classifier.

    Args:
        cfg: config.
        model_cfg: `cfg.MODEL`.
        num_classes: width of the classifier; 0: features are returned.
    """

    def __init__(
        self, cfg: CfgNode, model_cfg: CfgNode, num_classes: int, **kwargs: object
    ) -> None:
        super().__init__()
        self.backbone = build_backbone(
            model_cfg.BACKBONE.NAME,
            verbose=cfg.VERBOSE,
            pretrained=model_cfg.BACKBONE.PRETRAINED,
            **kwargs,
        )
        self.fdim = self.backbone.out_features
        self.head = None
        if model_cfg.HEAD.NAME and model_cfg.HEAD.HIDDEN_LAYERS:
            self.head = build_head(
                model_cfg.HEAD.NAME,
                verbose=cfg.VERBOSE,
                in_features=self.fdim,
                hidden_layers=model_cfg.HEAD.HIDDEN_LAYERS,
                activation=model_cfg.HEAD.ACTIVATION,
                bn=model_cfg.HEAD.BN,
                dropout=model_cfg.HEAD.DROPOUT,
                **kwargs,
            )
            self.fdim = self.head.out_features
        self.classifier = nn.Linear(self.fdim, num_classes) if num_classes > 0 else None

    def forward(self, x: Tensor, return_feature: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] to logits [B, C], with the features [B, D] if asked for."""
        features = self.backbone(x)
        if self.head is not None:
            features = self.head(features)
        if self.classifier is None:
            return features
        logits = self.classifier(features)
        return (logits, features) if return_feature else logits
