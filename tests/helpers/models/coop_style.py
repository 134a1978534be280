"""Trainers as a file written for CoOp's train.py holds them: it knows nothing of this project."""

import torch
from clip import clip
from clip.simple_tokenizer import SimpleTokenizer
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from torch import nn
from torch.nn import functional as F

_tokenizer = SimpleTokenizer()


def load_clip_to_cpu(cfg):
    path = clip._download(clip._MODELS[cfg.MODEL.BACKBONE.NAME])
    try:
        weights = torch.jit.load(path, map_location="cpu").state_dict()
    except RuntimeError:
        weights = torch.load(path, map_location="cpu")
    return clip.build_model(weights).float()


class Offsets(nn.Module):
    """One trainable vector for each class, added to its text feature."""

    def __init__(self, classnames, clip_model, prefix):
        super().__init__()
        assert all(_tokenizer.encode(name) for name in classnames)
        texts = [f"{prefix} {name.replace('_', ' ')}." for name in classnames]
        with torch.no_grad():
            features = clip_model.encode_text(torch.cat([clip.tokenize(text) for text in texts]))
        self.register_buffer("features", features)  # [C, D]
        self.offsets = nn.Parameter(torch.zeros_like(features))

    def forward(self):
        return F.normalize(self.features + self.offsets, dim=-1)


class OffsetTrainer(TrainerX):
    """What both trainers share."""

    def build_model(self):
        options = self.options(self.cfg)
        self.clip_model = load_clip_to_cpu(self.cfg).requires_grad_(False)
        learner = Offsets(self.dm.dataset.classnames, self.clip_model, options.CTX_INIT or "a")
        self.prompt_learner = learner.to(self.device)
        self.optim = build_optimizer(learner, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("prompt_learner", learner, self.optim, self.sched)

    def model_inference(self, image):
        features = F.normalize(self.clip_model.encode_image(image), dim=-1)
        return self.clip_model.logit_scale.exp() * features @ self.prompt_learner().t()

    def forward_backward(self, batch):
        image, label = self.parse_batch_train(batch)
        output = self.model_inference(image)
        loss = self.loss(output, label)
        self.model_backward_and_update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item(), **self.summary(output, label)}

    def parse_batch_train(self, batch):
        return batch["img"].to(self.device), batch["label"].to(self.device)

    def loss(self, output, label):
        return F.cross_entropy(output, label)

    def summary(self, output, label):
        return {"acc": compute_accuracy(output, label)[0].item()}


@TRAINER_REGISTRY.register()
class OffsetCoOp(OffsetTrainer):
    """Reads the node that CoOp's train.py declares."""

    def options(self, cfg):
        assert cfg.TRAINER.COOP.PREC in ["fp16", "fp32", "amp"]
        return cfg.TRAINER.COOP


@TRAINER_REGISTRY.register()
class OffsetTuning(OffsetTrainer):
    """Reads a node of its own, which the yaml declares, and takes several labels an image."""

    def options(self, cfg):
        self.weight = cfg.TRAINER.OFFSETTUNING.WEIGHT
        return cfg.TRAINER.OFFSETTUNING

    def loss(self, output, label):
        if label.ndim == 1:
            label = F.one_hot(label, output.shape[1]).float()
        return self.weight * F.binary_cross_entropy_with_logits(output, label)

    def summary(self, output, label):
        return {}
