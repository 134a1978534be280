from __future__ import annotations

import pytest
import torch

import train
from modeling.clip.tokenizer import tokenize_captions
from modeling.encoders.dense_image_encoder import DenseImageEncoder
from modeling.encoders.features import Features
from modeling.encoders.frozen_clip import FrozenClip, RegionOptions
from modeling.encoders.text_encoder import TextEncoder
from modeling.prompts.prompt_learner import PromptLearner
from modeling.prompts.prompt_model import Batch
from tests.helpers.models.small_clip import RESOLUTION, random_clip
from tests.helpers.models.small_trainer import build
from tests.helpers.sets.small_set import arguments, results, write_set
from tests.helpers.tolerance import assert_as_exact, in_double
from trainers.tai_dpt import TaIDPTModel

from losses import ranking_loss  # isort: skip

NAMES = ["cat", "traffic light", "dog"]
CAPTIONS = ["a cat!", "two dogs near a very old traffic light in the rain", "a dog and a cat"]
TARGETS = torch.tensor([[1.0, 0, 0], [0, 1, 1], [1, -1, 1]])


def method(clip_model, regions=0.5):
    """TaI-DPT's model, without data."""
    clip = FrozenClip(clip_model, regions=RegionOptions())
    return TaIDPTModel(NAMES, clip, ranking_loss, N_CTX=4, REGION_WEIGHT=regions)


def naive_branches(clip_model, learner, views, scale):
    """Both branches' logits, image by image and class by class, on CLIP's own text tower."""
    views = Features(  # in the tower's precision
        *(x.to(clip_model.dtype) for x in (views.global_features, views.local_features)), views.mask
    )
    features = {}
    for role in ("global", "local"):
        x = learner(role).to(clip_model.dtype) + clip_model.positional_embedding[: learner.length]
        blocks = clip_model.transformer.resblocks
        for block in blocks:
            block.attn_mask = torch.full((learner.length, learner.length), -torch.inf).triu(1)
        x = clip_model.ln_final(clip_model.transformer(x.transpose(0, 1)).transpose(0, 1))
        x = x[torch.arange(len(NAMES)), learner.eot] @ clip_model.text_projection
        features[role] = x / x.norm(dim=-1, keepdim=True)
    whole, local = [], []
    for b in range(len(views)):
        for c in range(len(NAMES)):
            whole.append(4 * views.global_features[b] @ features["global"][c])
            regions = views.local_features[b]
            if views.mask is not None:
                regions = regions[views.mask[b]]
            similar = torch.stack([region @ features["local"][c] for region in regions])
            weights = (scale * similar).exp() / (scale * similar).exp().sum()
            local.append(4 * (weights * similar).sum())
    shape = (len(views), len(NAMES))
    return torch.stack(whole).reshape(shape), torch.stack(local).reshape(shape)


def naive_ranking(logits, targets):
    total = 0.0
    for z, y in zip(logits, targets, strict=True):
        for i in range(len(z)):
            for j in range(len(z)):
                if y[i] == 1 and y[j] == 0:
                    total = total + torch.relu(1 - z[i] + z[j])
    return total / len(logits)


def views_of(kind, tower, clip_model):
    if kind == "captions":
        return TextEncoder(clip_model).encode_views(tokenize_captions(CAPTIONS))
    side = RESOLUTION[tower]
    return DenseImageEncoder(clip_model)(torch.randn(3, 3, side, side))


@pytest.mark.parametrize("tower", ["ViT", "RN"])
@pytest.mark.parametrize(("kind", "scale"), [("captions", 50.0), ("images", 40.0)])
def test_logits_loss_and_gradients_equal_naive_loops(tower, kind, scale):
    clip_model = random_clip(tower)
    made = method(clip_model)
    views = views_of(kind, tower, clip_model)
    features = made.text_features()
    logits = made.logits(views, features)
    terms = made.loss(logits, TARGETS, Batch(views, features, None, None))
    found = [(logits, terms["loss"], terms["loss_local"])]
    for clip in (in_double(clip_model), clip_model):
        whole, local = naive_branches(clip, made.learner, views, scale)
        losses = naive_ranking(whole, TARGETS), naive_ranking(local, TARGETS)
        found.insert(1, ((whole + local) / 2, sum(losses), losses[1]))
    contexts = [made.learner.ctx_global, made.learner.ctx_local]
    gradients = [torch.autograd.grad(loss, contexts) for _, loss, _ in found]
    assert all(gradient.norm() > 0 for gradient in gradients[0])
    for values in (*zip(*found, strict=True), *zip(*gradients, strict=True)):
        assert_as_exact(*values)


def test_padding_has_no_say():
    clip_model = random_clip()
    made = method(clip_model)
    tokens = tokenize_captions(CAPTIONS)
    together = made.clip.text_encoder.encode_views(tokens)
    features = made.text_features()
    for row in range(len(CAPTIONS)):
        alone = made.clip.text_encoder.encode_views(tokens[row : row + 1])
        for a, b in zip(
            made.branches(alone, features),
            made.branches(together, features),
            strict=True,
        ):
            torch.testing.assert_close(a[0], b[row], atol=1e-5, rtol=1e-4)
    noise = torch.where(together.mask[..., None], together.local_features, 9.0)
    changed = Features(together.global_features, noise, together.mask)
    torch.testing.assert_close(made.cosines(changed, features), made.cosines(together, features))


def test_captions_and_images_have_steepness_of_their_own():
    made = method(random_clip())
    views = views_of("captions", "ViT", random_clip())
    features = made.text_features()
    as_image = Features(views.global_features[:1], views.local_features[:1, :5])
    as_text = Features(*as_image.__dict__.values())
    as_text = Features(as_text.global_features, as_text.local_features, torch.ones(1, 5).bool())
    assert not torch.allclose(
        made.branches(as_image, features)[1],
        made.branches(as_text, features)[1],
        atol=1e-7,
    )
    made.options.REGION_SCALE = 50.0
    torch.testing.assert_close(
        made.branches(as_image, features)[1], made.branches(as_text, features)[1]
    )


def test_a_global_branch_alone():
    clip_model = random_clip()
    made = method(clip_model, regions=0)
    views = views_of("captions", "ViT", clip_model)
    features = made.text_features()
    assert len(features) == 1 and list(made.learner.state_dict()) == ["ctx_global"]
    without = Features(views.global_features)
    torch.testing.assert_close(
        made.logits(without, features), 4 * views.global_features @ features[0].t()
    )


def test_size_of_the_learner():
    import importlib

    from modeling.clip.loader import import_clip

    import_clip()
    wide = importlib.import_module("clip.model").CLIP(8, 32, 1, 64, 32, 77, 49408, 512, 8, 1)
    learner = PromptLearner(NAMES, wide, ("global", "local"), n_ctx=16)
    assert sum(p.numel() for p in learner.parameters()) == 16_384


class TestRuns:
    def test_trains_on_captions_and_is_tested_on_images(self, tmp_path, capsys):
        write_set(tmp_path, "RN")
        flags = arguments(
            tmp_path,
            "TaIDPT",
            tmp_path / "out",
            *("DATASET.TEXT_AS_IMAGE", "True", "TRAINER.LOSS.NAME", "ranking"),
            *("DATASET.TEXT_TEMPLATES", "1", "TEST.SAVE_SCORES", "True"),
            tower="RN",
        )
        train.main(flags)
        printed = capsys.readouterr().out
        assert "Training on 165 texts in place of images" in printed  # 21 captions, 36 x 4 others
        assert "loss_global" in printed and "loss_local" in printed
        report = results(tmp_path / "out")
        assert report["trainer"] == "TaIDPT" and 0 < report["metrics"]["mAP"] <= 100
        assert (tmp_path / "out" / "scores.npz").is_file()

    def test_refuses_images(self, tmp_path):
        write_set(tmp_path)
        with pytest.raises(ValueError, match="Add: DATASET.TEXT_AS_IMAGE True"):
            train.main(arguments(tmp_path, "TaIDPT", tmp_path / "out"))

    def test_refuses_a_share_beyond_one(self, tmp_path):
        write_set(tmp_path)
        words = ("DATASET.TEXT_AS_IMAGE", "True", "TRAINER.TAIDPT.REGION_WEIGHT", "1.5")
        with pytest.raises(ValueError, match=r"must be in \[0, 1\], got 1.5"):
            train.main(arguments(tmp_path, "TaIDPT", tmp_path / "out", *words))


def test_texts_are_encoded_before_the_first_epoch(tmp_path):
    write_set(tmp_path)
    trainer = build(tmp_path, "TaIDPT", tmp_path / "out", "DATASET.TEXT_AS_IMAGE", True)
    trainer.before_train()
    trainer.close_writer()
    assert len(vars(trainer.train_loader_x.texts)["cache"]) == len(trainer.data.targets)
