"""Models in plain Python: no data set, no config, no trainer."""

from __future__ import annotations

import pytest
import torch

from modeling.encoders.frozen_clip import FrozenClip, RegionOptions
from modeling.prompts.prompt_model import Batch, PromptModel
from tests.helpers.models.small_clip import RESOLUTION, random_clip
from trainers.cocoop import CoCoOpModel
from trainers.coop import CoOpModel
from trainers.cprfl import CPRFLModel
from trainers.dualcoop import DualCoOpModel, DualCoOpPPModel
from trainers.finetune_clip import FinetuneModel, LinearProbeModel
from trainers.lm_clip import LMCLIPModel
from trainers.lmpt import LMPTModel
from trainers.pvlr import PVLRModel
from trainers.tai_dpt import TaIDPTModel
from trainers.tarp import TARPModel
from trainers.zeroshot_clip import ZeroshotModel

NAMES = ["cat", "dog", "traffic light"]
MODELS = [
    *(CoOpModel, CoCoOpModel, LMPTModel, DualCoOpModel, DualCoOpPPModel, TaIDPTModel),
    *(LMCLIPModel, CPRFLModel),
    *(PVLRModel, TARPModel, LinearProbeModel, FinetuneModel, ZeroshotModel),
]


def clip(regions=True):
    return FrozenClip(random_clip("ViT"), regions=RegionOptions() if regions else None)


def images(count=4):
    side = RESOLUTION["ViT"]
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("model_class", MODELS)
def test_every_method_scores_and_trains_by_hand(model_class):
    model = model_class(NAMES, clip())
    logits = model(images())
    assert logits.shape == (4, 3) and torch.isfinite(logits).all()
    if model.learner is None:
        return
    targets = torch.eye(4)[:, :3]
    # Under a logit scale of 100 towers leap, and so do logits that are products of what is trained.
    rate = 1e-5 if model_class in (LMCLIPModel, CPRFLModel) else 1e-3
    model.eval()  # without dropout, whose noise is larger than a step
    optimiser = torch.optim.SGD([p for p in model.learner.parameters() if p.requires_grad], rate)
    losses = []
    for _ in range(3):
        loss = model.criterion(model(images()), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_clips_weights_are_no_part_of_a_model():
    model = CoOpModel(NAMES, clip(), N_CTX=2)
    assert list(model.state_dict()) == ["learner.ctx"]


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(ValueError, match="no option 'N_CTXT', only .* Did you mean 'N_CTX'"):
        CoOpModel(NAMES, clip(), N_CTXT=2)


@pytest.mark.parametrize(
    ("model_class", "options"),
    [
        (DualCoOpModel, {}),
        (PVLRModel, {}),
        (CPRFLModel, {}),
        (TARPModel, {}),
        (TaIDPTModel, {}),
        (CoOpModel, {"REGION_WEIGHT": 0.5}),
    ],
)
def test_regions_are_asked_for_where_they_are_looked_at(model_class, options):
    with pytest.raises(ValueError, match="looks at regions and this CLIP reads none"):
        model_class(NAMES, clip(regions=False), **options)


def test_lmpt_without_captions_says_so_when_it_is_trained():
    model = LMPTModel(NAMES, clip(regions=False), N_CTX=4)
    features = model.clip.encode_images(images())
    batch = Batch(features, model.text_features(), torch.arange(4), torch.zeros(4).long())
    with pytest.raises(ValueError, match="built without captions"):
        model.loss(model.logits(features, batch.text), torch.eye(4)[:, :3], batch)


def test_a_loss_must_have_a_term_to_minimise():
    model_class = type("Wrong", (PromptModel,), {"loss": lambda self, *_: {"mine": 1}})
    model = model_class(NAMES, clip(regions=False))
    index = torch.arange(4)
    with pytest.raises(ValueError, match='Wrong.loss must return .*"loss"'):
        model.terms(model.clip.encode_images(images()), torch.eye(4)[:, :3], index, index)
