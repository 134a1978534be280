"""Training on captions in place of images, and on data sets with one label an image."""

from __future__ import annotations

import pytest
import torch

import train
from modeling.clip.loader import tokenize
from modeling.clip.tokenizer import tokenize_captions
from tests.helpers.models.small_trainer import built
from tests.helpers.sets.single_label_set import pet_arguments, write_pets
from tests.helpers.sets.small_set import NAMES, arguments, contexts, results, write_set
from tests.helpers.tolerance import assert_as_exact, in_double

TEXTS = ("DATASET.TEXT_AS_IMAGE", "True")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_set(root)
    return root


@pytest.fixture
def build(root, tmp_path):
    def build(name, *more):
        words = arguments(root, name, tmp_path / "out", *map(str, more))
        return built(words)

    return build


@pytest.mark.parametrize("name", ["CoOp", "LMPT", "DualCoOp"])
def test_methods_train_from_captions_and_are_tested_on_images(name, root, tmp_path):
    train.main(arguments(root, name, tmp_path / "texts", *TEXTS))
    found = results(tmp_path / "texts")
    assert found["epoch"] == 4 and found["metrics"]["mAP"] > 0
    log = (tmp_path / "texts" / "log.txt").read_text()
    assert "texts in place of images" in log and "Encode training images" not in log


def test_captions_stand_for_images(build):
    trainer = build("CoOp", *TEXTS)
    trainer.batch_idx, trainer.num_batches = 0, 2
    batch = next(iter(trainer.train_loader_x))
    views, targets = trainer.parse_batch_train(batch)
    sentences = [trainer.data.texts.sentences[i] for i in batch["index"].tolist()]
    alone = trainer.clip.text_encoder.encode_tokens(tokenize_captions(sentences))
    torch.testing.assert_close(views.global_features, alone, atol=1e-5, rtol=0)
    expected = torch.as_tensor(trainer.data.texts.labels)[batch["index"]]
    assert torch.equal(targets, expected)
    assert views.local_features is None  # CoOp does not look at words one by one
    regional = build("CoOp", *TEXTS, "TRAINER.COOP.REGION_WEIGHT", 0.5)
    views, _ = regional.parse_batch_train(next(iter(regional.train_loader_x)))
    assert views.local_features.shape[:2] == views.mask.shape


def test_lmpts_captions_are_the_texts_themselves(build):
    trainer = build("LMPT", *TEXTS)
    index = torch.arange(len(trainer.data.texts.sentences))
    rows, captioned = trainer.model.captions.rows(index, torch.zeros_like(index))
    assert captioned.all()
    expected = tokenize_captions(trainer.data.texts.sentences)
    assert torch.equal(trainer.model.captions.tokens[rows], expected)


def test_counts_are_those_of_the_texts(build):
    trainer = build("CoOp", *TEXTS)
    counts = torch.as_tensor(trainer.data.texts.labels).sum(dim=0)
    assert torch.equal((trainer.data.targets == 1).sum(dim=0).float(), counts)


def test_texts_cannot_train_an_image_tower(build):
    with pytest.raises(ValueError, match=r"captions hold no images.*TEXT_AS_IMAGE False"):
        build("FinetuneCLIP", *TEXTS)


def test_texts_have_no_augmented_views(build):
    with pytest.raises(ValueError, match="CACHE_VIEWS is for images"):
        build("CoOp", *TEXTS, "DATALOADER.CACHE_VIEWS", 4)


class TestRegions:
    @pytest.mark.parametrize(
        ("name", "more"),
        [("ZeroshotCLIP", ()), ("CoOp", ("TRAINER.COOP.CTX_INIT", "a_photo_of_a"))],
    )
    def test_weight_zero_is_clip_itself(self, name, more, build):
        trainer = build(name, f"TRAINER.{name.upper()}.REGION_WEIGHT", 0.0, *more)
        images = torch.rand(3, 3, 32, 32)

        def logits(clip):
            pictures = clip.encode_image(images)
            texts = clip.encode_text(tokenize([f"a photo of a {name}." for name in NAMES]))
            pictures, texts = (x / x.norm(dim=-1, keepdim=True) for x in (pictures, texts))
            return clip.logit_scale.exp() * pictures @ texts.T

        assert not trainer.clip.uses_regions
        found = trainer.model.logits(
            trainer.clip.encode_images(images), trainer.model.text_features()
        )
        assert_as_exact(
            found, logits(trainer.clip.clip_model), logits(in_double(trainer.clip.clip_model))
        )

    @pytest.mark.parametrize("name", ["CoOp", "LMPT", "ZeroshotCLIP"])
    def test_logits_are_a_share_of_pooled_regions(self, name, build):
        node = f"TRAINER.{name.upper()}"
        for share in (-0.5, 1.5):
            with pytest.raises(ValueError, match=rf"{node}.REGION_WEIGHT must be in \[0, 1\]"):
                build(name, f"{node}.REGION_WEIGHT", share)
        trainer = build(name, f"{node}.REGION_WEIGHT", 0.25, f"{node}.REGION_SCALE", 7.0)
        views = trainer.clip.encode_images(torch.rand(2, 3, 32, 32))
        texts = trainer.model.text_features().detach()
        expected = torch.empty(2, len(texts))
        for b in range(2):
            for c in range(len(texts)):
                regions = views.local_features[b] @ texts[c]
                pooled = ((7 * regions).softmax(0) * regions).sum()
                expected[b, c] = 0.75 * views.global_features[b] @ texts[c] + 0.25 * pooled
        expected = expected * trainer.clip.clip_model.logit_scale.exp()
        found = trainer.model.logits(views, texts)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)

    def test_runs_end_to_end(self, root, tmp_path):
        more = ("TRAINER.LMPT.REGION_WEIGHT", "0.5")
        train.main(arguments(root, "LMPT", tmp_path / "regions", *more))
        train.main(arguments(root, "LMPT", tmp_path / "plain"))
        assert not torch.equal(contexts(tmp_path / "regions"), contexts(tmp_path / "plain"))


def test_scores_of_test_and_training_images_are_saved(root, tmp_path):
    import numpy as np

    train.main(arguments(root, "CoOp", tmp_path / "out", "TEST.SAVE_SCORES", "all"))
    for name, size in (("scores", 9), ("scores_train", 21)):
        saved = np.load(tmp_path / "out" / f"{name}.npz", allow_pickle=False)
        assert saved["scores"].shape == saved["targets"].shape == (size, 4)
        assert set(np.unique(saved["targets"])) <= {0, 1}


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    root = tmp_path_factory.mktemp("pets")
    write_pets(root)
    return root


class TestOneLabelAnImage:
    @pytest.mark.parametrize("name", ["ZeroshotCLIP", "CoOp", "CoCoOp", "LinearProbe", "TARP"])
    def test_coops_recipe_runs_on_ordinary_sets(self, name, pets, tmp_path):
        train.main(pet_arguments(pets, name, tmp_path, "TRAINER.LOSS.NAME", "softmax_ce"))
        found = results(tmp_path)
        assert 0 <= found["metrics"]["accuracy"] <= 100 and found["per_class"] == []

    def test_targets_are_one_hot_and_the_evaluator_gets_indices(self, pets, tmp_path):
        words = pet_arguments(pets, "CoOp", tmp_path, "TRAINER.LOSS.NAME", "softmax_ce")
        trainer = built(words)
        batch = next(iter(trainer.train_loader_x))
        views, targets = trainer.parse_batch_train(batch)
        assert batch["label"].dim() == 1
        assert torch.equal(targets.argmax(dim=1), batch["label"])
        assert (targets.sum(dim=1) == 1).all()
        _, labels = trainer.parse_batch_test(batch)
        assert torch.equal(labels, batch["label"])
        logits = trainer.model.logits(views, trainer.model.text_features())
        expected = torch.nn.functional.cross_entropy(logits, labels)
        torch.testing.assert_close(trainer.model.criterion(logits, targets), expected)
