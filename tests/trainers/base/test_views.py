"""INPUT.TEST_VIEWS and INPUT.REGION_VIEWS, from the command line to scores."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import train
from evaluation.results.saved_scores import load_scores
from loading.images import read_picture
from loading.transforms import fixed_transform
from prediction import load_run
from prediction.class_weights import class_weights
from prediction.region_maps import region_cosines, region_grid
from tests.helpers.models.small_trainer import build, first_step
from tests.helpers.runs.untrained_runs import a_picture, untrained
from tests.helpers.sets.small_set import NAMES, arguments, results

SIDES = ((32, 32), (40, 40))  # of the small CLIP and one larger
ALL = "flip 32 40"


def pictures(trainer, paths, size, side):
    """Pictures [B, 3, h, w] read in one size and shown in another."""
    inputs = trainer.cfg.INPUT
    transform = fixed_transform(
        size, inputs.RESIZE, inputs.INTERPOLATION, inputs.PIXEL_MEAN, inputs.PIXEL_STD
    )
    images = torch.stack([transform(read_picture(path)) for path in paths])
    return F.interpolate(images, side, mode="bicubic", antialias=True)


def logits_of_views(trainer, paths, size, sides):
    """Logits of each size, plain and mirrored, in a pass of their own each: [V, B, C]."""
    model, found = trainer.model, []
    for side in sides:
        for images in (plain := pictures(trainer, paths, size, side), plain.flip(-1)):
            features = trainer.clip.encode_images(images)
            found.append(model.logits(features, model.text_features()))
    return torch.stack(found)


@pytest.mark.parametrize("cache", ["auto", "off"])
@pytest.mark.parametrize(
    ("trainer", "words"),
    [
        ("CoOp", ()),
        ("CoOp", ("TRAINER.COOP.REGION_WEIGHT", 0.5)),
        ("CoOp", ("TRAINER.TUNE.NAME", "norm")),
        ("TARP", ()),
        ("CoCoOp", ("TRAINER.COCOOP.N_CTX", 2, "TRAINER.COCOOP.CTX_INIT", "")),
    ],
)
def test_a_mirrored_view_is_averaged_as_in_two_passes(trainer, words, cache, roots, tmp_path):
    keys = ("INPUT.TEST_VIEWS", "flip", "DATALOADER.CACHE", cache, *words)
    made = build(roots["ViT"], trainer, tmp_path / "out", *keys)
    for batch in made.test_loader:
        features, _ = made.parse_batch_test(batch)
        with torch.no_grad():
            found = made.model_inference(features)
            apart = logits_of_views(made, batch["impath"], SIDES[0], SIDES[:1])
        torch.testing.assert_close(found, apart.mean(dim=0), atol=2e-2, rtol=0)
        assert (apart[0] - apart[1]).abs().max() > 0.1


def test_sizes_are_averaged_and_pictures_read_in_the_largest(roots, tmp_path):
    words = ("INPUT.TEST_VIEWS", ALL, "TRAINER.COOP.REGION_WEIGHT", 0.5)
    made = build(roots["ViT"], "CoOp", tmp_path / "out", *words)
    batch = next(iter(made.test_loader))
    with torch.no_grad():
        found = made.model_inference(made.parse_batch_test(batch)[0])
        apart = logits_of_views(made, batch["impath"], SIDES[1], SIDES)
    torch.testing.assert_close(found, apart.mean(dim=0), atol=2e-2, rtol=0)
    trained = made.parse_batch_train(next(iter(made.train_loader_x)))[0]
    assert trained.local_features.shape[1] == 16  # trained as without views


def test_whole_images_are_seen_in_other_sizes_too(roots, tmp_path):
    made = build(roots["ViT"], "CoOp", tmp_path / "out", "INPUT.TEST_VIEWS", "32 40")
    features, _ = made.parse_batch_test(next(iter(made.test_loader)))
    assert features.local_features is None and features.global_features.shape[1] == 2
    assert made.model_inference(features).shape == (len(features), 4)


def test_training_and_evaluation_see_one_bag(roots, tmp_path):
    made = build(roots["ViT"], "DualCoOp", tmp_path / "out", "INPUT.REGION_VIEWS", ALL)
    encoder = made.clip.image_encoder.encoder
    for batch in (next(iter(made.train_loader_x)), next(iter(made.test_loader))):
        features = made.data.features(batch)
        parts = []
        for side in SIDES:
            plain = pictures(made, batch["impath"], SIDES[1], side)
            parts += [encoder(images).local_features for images in (plain, plain.flip(-1))]
        torch.testing.assert_close(
            features.local_features, torch.cat(parts, dim=1), atol=2e-3, rtol=0
        )
        assert features.global_features.shape == (len(features), 32)
    assert made.data.train_sampler.flip == 0  # a bag has both already
    _, targets, logits, loss = first_step(made)
    assert logits.shape == targets.shape and torch.isfinite(loss)


@pytest.mark.parametrize("views", [("TEST_VIEWS", ALL), ("REGION_VIEWS", ALL)])
def test_a_run_is_trained_evaluated_and_predicted_with_alike(views, roots, tmp_path):
    key, value = views
    keys = (f"INPUT.{key}", value, "OPTIM.MAX_EPOCH", "1", "TEST.SAVE_SCORES", "True")
    train.main(arguments(roots["ViT"], "TARP", tmp_path / "out", *keys, "TRAINER.LOSS.NAME", "bce"))
    words = ["--eval-only", "--model-dir", str(tmp_path / "out"), "--root", str(roots["ViT"])]
    train.main([*words, "--output-dir", str(tmp_path / "again")])
    assert results(tmp_path / "again")["metrics"] == results(tmp_path / "out")["metrics"]
    run, saved = load_run(tmp_path / "out"), load_scores(tmp_path / "out/scores.npz")
    images = torch.stack([run.transform(read_picture(path)) for path in saved.paths])
    assert images.shape[-2:] == (40, 40)
    torch.testing.assert_close(run.logits(images), saved.logits, atol=2e-2, rtol=0)


def test_every_kind_of_views_has_a_cache_of_its_own(roots, tmp_path):
    files = set()
    for number, (key, value) in enumerate(
        [
            ("TEST_VIEWS", ""),
            ("TEST_VIEWS", "flip"),
            ("TEST_VIEWS", ALL),
            ("REGION_VIEWS", "flip"),
            ("REGION_VIEWS", ALL),
            ("REGION_VIEWS", "40 32 flip"),
        ]
    ):
        words = (f"INPUT.{key}", value, "DATALOADER.CACHE_DIR", tmp_path / "cache")
        made = build(roots["ViT"], "DualCoOp", tmp_path / "out", *words)
        _ = made.test_loader.cache
        files = {path.name for path in (tmp_path / "cache").glob("*-test-*")}
        assert len(files) == number + 1


def test_without_views_evaluations_share_what_training_cached(roots, tmp_path):
    made = build(roots["ViT"], "DualCoOp", tmp_path / "out")
    assert made.data.plain_train_loader.cache is made.train_loader_x.cache
    made = build(roots["ViT"], "DualCoOp", tmp_path / "out", "INPUT.TEST_VIEWS", "flip")
    assert made.data.plain_train_loader.cache is not made.train_loader_x.cache


@pytest.mark.parametrize("views", [("TEST_VIEWS", "flip 32"), ("REGION_VIEWS", "flip 32 16")])
def test_a_region_map_is_that_of_the_plain_view(views, roots):
    plain = untrained(roots["ViT"], "DualCoOp")
    several = untrained(roots["ViT"], "DualCoOp", f"INPUT.{views[0]}", views[1])
    picture = a_picture(roots["ViT"])[1]
    features = several.features(several.transform(picture)[None])
    expected = region_cosines(plain, plain.features(plain.transform(picture)[None]))
    torch.testing.assert_close(region_cosines(several, features), expected, atol=1e-4, rtol=0)
    assert region_grid(several, features) == (4, 4)


def test_one_matrix_sees_no_views(roots):
    run = untrained(roots["ViT"], "CoOp", "INPUT.TEST_VIEWS", "flip")
    with pytest.raises(ValueError, match="averages logits over views.*add: INPUT.TEST_VIEWS ''"):
        class_weights(run)
    assert run.classnames == NAMES


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("INPUT.TEST_VIEWS", "flop"), "TEST_VIEWS must be 'flip', sides in pixels.*got 'flop'"),
        (("INPUT.TEST_VIEWS", "flip", "INPUT.REGION_VIEWS", "flip"), "set one of them"),
        (("INPUT.REGION_VIEWS", "flip"), "REGION_VIEWS 'flip': a bag of regions needs a method"),
        (("INPUT.TEST_VIEWS", "flip 36"), "'flip 36': 36 pixels is no side.*take 32 or 40"),
        (
            ("INPUT.SIZE", "(32, 40)", "INPUT.TEST_VIEWS", "flip 32"),
            r"INPUT.SIZE is \(32, 40\); leave them out of 'flip 32'",
        ),
    ],
)
def test_what_cannot_be_is_refused(words, message, roots, tmp_path):
    with pytest.raises(ValueError, match=message):
        build(roots["ViT"], "CoOp", tmp_path / "out", *words)
