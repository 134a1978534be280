from __future__ import annotations

import math

import pytest
import torch

from loading.images import read_picture
from prediction import Predictor, zero_shot
from prediction.predictor import average_log_odds
from tests.helpers.models.small_clip import openai_weights, random_clip
from tests.helpers.sets.small_pictures import SIZE, write_pictures

NAMES = ["cat", "dog", "traffic light"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures 0.png to 10.png, and the weights of two CLIPs."""
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder)
    for seed in (0, 1):
        torch.save(openai_weights(random_clip(seed=seed)), folder / f"clip{seed}.pt")
    return folder


@pytest.fixture(scope="module")
def model(place):
    def build(seed=0, names=NAMES, *words):
        backbone = ["MODEL.BACKBONE.NAME", str(place / f"clip{seed}.pt")]
        return zero_shot(names, words=[*backbone, "INPUT.SIZE", "(32, 32)", *words])

    return build


@pytest.fixture
def paths(place):
    return [str(place / f"{i}.png") for i in range(SIZE)]


def logits(model, paths):
    """One picture at a time, in plain steps."""
    images = [model.transform(read_picture(path))[None] for path in paths]
    return torch.cat([model.logits(image) for image in images]).double()


def odds(predictions):
    return torch.stack([p.log_odds for p in predictions])


@pytest.mark.parametrize("size", [None, 1, 4, 50])
def test_scores_are_those_of_the_model_in_the_order_of_the_pictures(size, model, paths):
    one = model()
    found = list(Predictor([one], batch_size=size).predict(paths))
    assert [p.path for p in found] == paths
    torch.testing.assert_close(odds(found), logits(one, paths), atol=1e-3, rtol=0)
    assert list(found[0].scores) == NAMES
    assert found[0].scores["dog"] == pytest.approx(float(found[0].log_odds[1].sigmoid()))


def test_a_broken_picture_loses_no_other(model, paths, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    broken = [str(tmp_path / "broken.jpg"), str(tmp_path / "absent.jpg")]
    mixed = [broken[0], *paths[:5], broken[1], *paths[5:]]
    predictor = Predictor([model()], batch_size=3)
    found = list(predictor.predict(mixed))
    assert [p.path for p in found] == mixed
    whole = [p for p in found if not p.error]
    torch.testing.assert_close(odds(whole), odds(predictor.predict(paths)), atol=1e-3, rtol=0)
    first, second = (p for p in found if p.error)
    assert "no picture of a known format" in first.error
    assert "no such file" in second.error
    assert first.scores == {}
    assert first.labels == []
    assert all(p.error for p in predictor.predict(broken))
    assert list(predictor.predict([])) == []


def test_several_models_are_averaged_by_their_probabilities(model, paths):
    soft = ("TEST.SCORE", "softmax")
    both = [model(0, NAMES, *soft), model(1, NAMES, *soft)]
    found = torch.tensor([list(p.scores.values()) for p in Predictor(both).predict(paths)])
    expected = sum(logits(one, paths).softmax(dim=1) for one in both) / 2
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=0)


def test_models_of_one_encoder_share_its_features(model, paths, monkeypatch):
    alike = [model(0), model(0, NAMES, "TRAINER.ZEROSHOTCLIP.TEMPLATE", "a {}."), model(1)]
    passes = []
    for number, one in enumerate(alike):
        encode = one.model.clip.encode_test_images

        def counted(images, number=number, encode=encode):
            passes.append(number)
            return encode(images)

        monkeypatch.setattr(one.model.clip, "encode_test_images", counted)
    found = odds(Predictor(alike, batch_size=50).predict(paths))
    assert sorted(passes) == [0, 2]
    expected = torch.stack([logits(one, paths) for one in alike]).sigmoid().mean(dim=0).logit()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_the_mean_keeps_its_digits_where_probabilities_saturate():
    both = torch.tensor([[[60.0, -60.0, 1.0]], [[62.0, -62.0, 3.0]]], dtype=torch.float64)
    found = average_log_odds(both)[0].tolist()
    mean = (math.exp(-60) + math.exp(-62)) / 2  # of what is missing to 1
    assert found[0] == pytest.approx(-math.log(mean), rel=1e-12)
    assert found[1] == pytest.approx(math.log(mean), rel=1e-12)
    p = (1 / (1 + math.exp(-1)) + 1 / (1 + math.exp(-3))) / 2
    assert found[2] == pytest.approx(math.log(p / (1 - p)), rel=1e-12)


def test_labels_follow_the_threshold_and_the_number_asked_for(model, paths):
    soft = model(0, NAMES, "TEST.SCORE", "softmax", "TEST.THRESHOLD", "0.2")
    for options, least, most in (
        ({}, 0.2, 3),
        ({"threshold": 0.4}, 0.4, 3),
        ({"top": 2}, 0, 2),
        ({"top": 1, "threshold": 0.2}, 0.2, 1),
    ):
        for p in Predictor([soft], **options).predict(paths):
            ranked = sorted(p.scores, key=p.scores.get, reverse=True)
            assert p.labels == [name for name in ranked if p.scores[name] > least][:most]
    assert Predictor([soft]).notes[1] == "Labels: scores above 0.2 (TEST.THRESHOLD)."
    assert Predictor([soft], top=2).notes[1] == "Labels: the 2 highest scores."


def test_scores_that_all_round_to_one_keep_their_order(model, paths, monkeypatch):
    one = model()
    rows = torch.tensor([[25.0, 40.0, 39.0]])
    monkeypatch.setattr(one.model, "logits", lambda features, text: rows.expand(len(features), 3))
    for p in Predictor([one], top=3).predict(paths):
        assert p.labels == ["dog", "traffic light", "cat"]


def test_scores_that_are_no_numbers_are_an_error_of_their_picture(model, paths, monkeypatch):
    one = model()
    monkeypatch.setattr(one.model, "logits", lambda features, text: torch.full([1, 3], math.nan))
    (found,) = Predictor([one]).predict(paths[:1])
    assert "NaN" in found.error


def test_models_that_do_not_go_together_are_refused(model):
    with pytest.raises(ValueError, match="at least one model"):
        Predictor([])
    other = model(1, ["cat", "wolf", "traffic light"])
    with pytest.raises(ValueError, match="class 1 is 'dog' .*, 'wolf' "):
        Predictor([model(), other])
    with pytest.raises(ValueError, match=r"one TEST.SCORE.*has sigmoid.*has softmax"):
        Predictor([model(), model(1, NAMES, "TEST.SCORE", "softmax")])
    with pytest.raises(ValueError, match=r"one TEST.THRESHOLD.*0.5.*0.3"):
        Predictor([model(), model(1, NAMES, "TEST.THRESHOLD", "0.3")])
    for options, message in (
        ({"threshold": 1.0}, "threshold must be above 0 and below 1, got 1"),
        ({"top": 0}, "top must be above 0, got 0"),
        ({"batch_size": 0}, "batch_size must be above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            Predictor([model()], **options)
