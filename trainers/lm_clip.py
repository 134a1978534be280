"""LM-CLIP: both towers of CLIP tuned by its own loss and a balanced one, on balanced batches.

Images and captions that hold little but their labels' names are drawn together as CLIP was
trained; beside it the balanced asymmetric loss (losses/balanced_asymmetric.py) judges each class.
Images are drawn by how rare their classes are (`TRAINER.SAMPLER balanced`). After its public code
(https://github.com/damilab/lm-clip); docs/methods.md has the equations and what is done otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from yacs.config import CfgNode

from common.config.config_rules import Choice, Number, declare_rules
from losses.contrastive import contrastive_loss
from modeling.captions.caption_tokens import CaptionTokens
from modeling.encoders.frozen_clip import FrozenClip
from modeling.prompts.class_prompts import check_template, class_sentences, fill
from modeling.prompts.prompt_model import Batch, PromptModel
from modeling.tuning.towers import IMAGE, TEXT
from modeling.tuning.whole_towers import WholeTowers, whole_text_tower
from trainers.base import PromptTrainer, method_node
from trainers.base.options import TRAINABLE_PREC

CAPTIONS = {
    "labels": "TEMPLATE with the names of the image's labels, joined by commas",
    "given": "the data set's own, as INPUT.CAPTION* say",
}


class LMCLIPModel(PromptModel):
    """CLIP with both towers learning; a class is one sentence.

    Args:
        classnames: C names.
        clip: the towers, which change in training.
        captions: tokens of the training images' captions; without them it can score images and
            not compute its contrastive loss.
        **more: as of `PromptModel`.
    """

    defaults: ClassVar = {
        "TEMPLATE": "a photo of a {}",  # of classes, and of captions that are made of labels
        "CAPTIONS": "labels",  # labels (their names in TEMPLATE) | given (the data set's own)
        "LAMBDA": 1.0,  # weight of the classification loss beside CLIP's own loss
        "LOGIT_SCALE": 0.0,  # of the cosines; 0: CLIP's own, about 100
        "LOGIT_SCALE_LEARNABLE": True,  # train it, from there
        "COSINE_OFFSET": "off",  # off | fixed (the mean cosine before training) | learnt
    }

    def __init__(
        self,
        classnames: Sequence[str],
        clip: FrozenClip,
        captions: CaptionTokens | None = None,
        **more: Any,  # noqa: ANN401 - as PromptModel's
    ) -> None:
        super().__init__(classnames, clip, **more)
        self.captions = None if captions is None else captions.to(clip.device)
        sentences = class_sentences(self.classnames, self.options.TEMPLATE)
        tokens = clip.tokenizer.rows([own for (own,) in sentences])
        self.register_buffer("tokens", tokens.to(clip.device), persistent=False)  # [C, 77]

    def build_learner(self) -> WholeTowers:
        """Both towers."""
        clip_model = self.clip.clip_model
        return WholeTowers({IMAGE: clip_model.visual, TEXT: whole_text_tower(clip_model)})

    def text_features(self) -> Tensor:
        """Features of each class's sentence by the text tower as it is now: [C, D]."""
        return self.clip.text_encoder.encode_tokens(self.tokens)

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> dict[str, Tensor]:
        """CLIP's loss on images and captions + LAMBDA * the classification loss."""
        contrast = self.contrast(batch)
        classification = self.criterion(logits, targets)
        loss = contrast + self.options.LAMBDA * classification
        return {"loss": loss, "loss_clip": contrast, "loss_cls": classification}

    def contrast(self, batch: Batch) -> Tensor:
        """CLIP's own loss on the images of a batch and their captions.

        Raises:
            ValueError: the model was built without captions.
        """
        if self.captions is None:
            raise ValueError(
                "LMCLIPModel was built without captions, which its contrastive loss compares; "
                "pass captions=CaptionTokens(...)."
            )
        rows, captioned = self.captions.rows(batch.index, batch.sample_seed)
        with self.clip.autocast():
            texts = self.clip.text_encoder.encode_tokens(self.captions.tokens[rows])  # [B, D]
        similarities = self.scale(batch.features.global_features @ texts.t())
        return contrastive_loss(similarities, captioned)


declare_rules(
    "TRAINER.LMCLIP",
    {"CAPTIONS": Choice(CAPTIONS), "LAMBDA": Number(least=0), "PREC": TRAINABLE_PREC},
)


def extend_cfg(cfg: CfgNode) -> None:
    """Declare LM-CLIP's keys."""
    cfg.TRAINER.LMCLIP = method_node(LMCLIPModel)


@TRAINER_REGISTRY.register()
class LMCLIP(PromptTrainer):
    """LM-CLIP: both towers tuned by CLIP's own loss and a balanced one."""

    model_class = LMCLIPModel
    learner_name = "model"
    tunes_image_encoder = True

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse a template without a place for the class name."""
        super().check_cfg(cfg)
        check_template(self.method_cfg.TEMPLATE, "TRAINER.LMCLIP.TEMPLATE")

    def model_arguments(self) -> dict[str, Any]:
        """Captions, of the kind that CAPTIONS names."""
        given = self.method_cfg.CAPTIONS == "given"
        return {"captions": self.data.caption_tokens() if given else self._captions_of_labels()}

    def _captions_of_labels(self) -> CaptionTokens:
        """TEMPLATE with the names of each image's labels; none for an image without a label."""
        data, texts = self.data, []
        for row in data.targets:
            names = [data.classnames[c] for c in (row == 1).nonzero().flatten().tolist()]
            texts.append([fill(self.method_cfg.TEMPLATE, ", ".join(names))] if names else [])
        return CaptionTokens(texts, data.targets, data.classnames, tokenizer=self.clip.tokenizer)
