"""The released LMPT recipe, as released but for the repair that lets its loss run.

The slow twin that scripts/bench.py measures against: every step decodes and encodes its pictures
in the main process, all 77 text positions go through CLIP's own transformer, the embedding loss
expands captions and prompts to [B, C, 75, E], and scores go to the host. Contexts have the towers'
precision.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from modeling.clip.loader import tokenize

LEARNING_RATE, SHARE, MARGIN = 5e-4, 0.5, 0.2
COLOURS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # ImageNet's


class NaiveLMPT:
    """The released recipe: class-specific contexts, distribution-balanced and embedding loss.

    Args:
        clip_model: a frozen `clip.model.CLIP` on the device.
        classnames: C names.
        contexts: where training starts [C, M, E].
        general: m, leading contexts outside the embedding loss.
        targets: of the training images [N, C], 1 or 0.
        captions: one of each training image.
        mu: of the distribution-balanced loss.
        neg_scale: likewise.
    """

    def __init__(
        self,
        clip_model: nn.Module,
        classnames: Sequence[str],
        contexts: Tensor,
        general: int,
        targets: Tensor,
        captions: Sequence[str],
        mu: float,
        neg_scale: float,
    ) -> None:
        from torchvision import transforms

        self.clip, self.general, self.mu, self.neg_scale = clip_model, general, mu, neg_scale
        self.device = clip_model.text_projection.device
        self.dtype = clip_model.dtype
        self.loss_dtype = torch.promote_types(self.dtype, torch.float32)
        self.counts = targets.sum(dim=0).to(self.device)  # [C]
        self.targets = targets
        n_ctx = contexts.shape[1]
        tokens = tokenize([f"{'X ' * n_ctx}{name.replace('_', ' ')}." for name in classnames])
        tokens = tokens.to(self.device)
        embedded = clip_model.token_embedding(tokens).to(self.dtype)  # [C, 77, E]
        self.eot = tokens.argmax(dim=-1)
        self.prefix, self.suffix = embedded[:, :1], embedded[:, 1 + n_ctx :]
        self.contexts = nn.Parameter(contexts.detach().to(self.device, self.dtype, copy=True))
        self.optimiser = torch.optim.SGD(
            [self.contexts], lr=LEARNING_RATE, momentum=0.9, weight_decay=1e-4
        )
        texts = tokenize([caption[:75] for caption in captions])
        self.captions = torch.cat(  # [N, 77, E], on the host
            [
                clip_model.token_embedding(part.to(self.device)).to(self.dtype).cpu()
                for part in texts.split(256)
            ]
        )
        side = clip_model.visual.input_resolution
        self.resize = transforms.Resize((side, side))
        self.to_tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize(*COLOURS)])

    def step(self, paths: Sequence[str], rows: Sequence[int], flips: Sequence[bool]) -> Tensor:
        """One training step on the images `paths`, which stand at `rows` of the list; its loss."""
        images, targets = self.decode(paths, flips), self.targets[list(rows)]
        captions = self.captions[list(rows)].to(self.device)
        images, targets = images.to(self.device), targets.to(self.device)
        self.optimiser.zero_grad()
        logits = self.logits(images)
        targets.cpu().numpy().tolist()
        logits.detach().softmax(dim=1).cpu().numpy()  # for the mAP of the training images
        loss = self.loss(logits, targets, captions)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def decode(self, paths: Sequence[str], flips: Sequence[bool]) -> Tensor:
        """Pictures of a batch [B, 3, H, W], one after the other."""
        images = []
        for path, flip in zip(paths, flips, strict=True):
            picture = self.resize(Image.open(path).convert("RGB"))
            if flip:
                picture = picture.transpose(Image.FLIP_LEFT_RIGHT)
            images.append(self.to_tensor(picture))
        return torch.stack(images)

    def prompts(self) -> Tensor:
        """Prompts with their padding: [C, 77, E]."""
        return torch.cat([self.prefix, self.contexts, self.suffix], dim=1)

    def logits(self, images: Tensor) -> Tensor:
        """Logits [B, C] of images [B, 3, H, W]; both towers run."""
        model = self.clip
        image_features = model.encode_image(images.to(self.dtype))
        x = self.prompts() + model.positional_embedding.to(self.dtype)
        x = model.transformer(x.permute(1, 0, 2)).permute(1, 0, 2)  # [C, 77, E]
        x = model.ln_final(x).to(self.dtype)
        text_features = x[torch.arange(len(x)), self.eot] @ model.text_projection
        image_features = image_features / image_features.norm(dim=-1, keepdim=True)
        text_features = text_features / text_features.norm(dim=-1, keepdim=True)
        return model.logit_scale.exp() * image_features @ text_features.t()

    def loss(self, logits: Tensor, targets: Tensor, captions: Tensor) -> Tensor:
        """Half the classification loss, half the embedding loss."""
        embedding = self.embedding_loss(targets, captions)
        return SHARE * self.classification_loss(logits, targets) + (1 - SHARE) * embedding

    def classification_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The distribution-balanced loss with one focal factor for the batch, as released."""
        inverse = 1 / self.counts
        rate = inverse / (targets * inverse).sum(dim=1, keepdim=True)  # [B, C]
        weights = 0.1 + torch.sigmoid(10.0 * (rate - self.mu))
        bias = 0.05 * torch.log(len(self.targets) / self.counts - 1) / self.neg_scale
        logits = logits.to(self.loss_dtype) - bias
        scale = targets + (1 - targets) * self.neg_scale
        logits, weights = logits * scale, weights / scale
        plain = F.binary_cross_entropy_with_logits(logits, targets)
        weighted = F.binary_cross_entropy_with_logits(logits, targets, weights)
        return 2.0 * (1 - torch.exp(-plain)) ** 2 * weighted

    def embedding_loss(self, targets: Tensor, captions: Tensor) -> Tensor:
        """The class-specific embedding loss on expanded [B, C, 77 - m, E] tensors.

        Repaired: the release sums its weights over a dimension that is not there, and takes a
        softmax of the counts, which makes margins infinite.
        """
        positions = 77 - self.general
        size = (*targets.shape, positions, captions.shape[-1])
        left = captions[:, None, :positions].expand(size).to(self.loss_dtype)
        right = self.prompts()[None, :, self.general :].expand(size).to(self.loss_dtype)
        distance = 1 - F.cosine_similarity(left, right, dim=-1)  # [B, C, P]
        signs = (2 * targets - 1)[..., None].expand_as(distance)
        summed = (distance * signs).sum(dim=2)  # [B, C]
        weights = self.counts**-2 / (self.counts**-2).sum()
        return (weights * torch.relu(MARGIN * self.counts**-0.25 - summed)).mean()

    @torch.no_grad()
    def scores(self, paths: Sequence[str], batch_size: int) -> np.ndarray:
        """Softmax scores [N, C] of test images; the text tower runs for every batch."""
        rows = []
        for start in range(0, len(paths), batch_size):
            part = paths[start : start + batch_size]
            images = self.decode(part, [False] * len(part)).to(self.device)
            rows.extend(self.logits(images).softmax(dim=1).cpu().numpy())
        return np.asarray(rows)


def growing_average_precision(scores: np.ndarray, targets: np.ndarray, batch_size: int) -> float:
    """The released test loop's mAP: scikit-learn on all scores so far, after each batch.

    Args:
        scores: [N, C].
        targets: [N, C] of 1 and 0.
        batch_size: images by which the list grows.
    """
    from sklearn.metrics import average_precision_score

    values = np.zeros(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # early on there are classes without positives
        for stop in range(batch_size, len(scores) + batch_size, batch_size):
            seen = np.asarray(list(targets[:stop])), np.asarray(list(scores[:stop]))
            values = average_precision_score(*seen, average=None)
    return float(np.mean(values))
