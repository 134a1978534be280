from __future__ import annotations

import json

import pytest
import torch

from modeling.clip.loader import tokenize
from modeling.prompts.class_prompts import fill, read_templates
from tests.helpers.models.small_trainer import build, image_features, write_calm_set
from tests.helpers.sets.small_set import NAMES


@pytest.fixture
def zeroshot(tower, tmp_path):
    write_calm_set(tmp_path, tower)

    def make(*more):
        pairs = zip(more[::2], more[1::2], strict=True)
        options = [word for key, value in pairs for word in (f"TRAINER.ZEROSHOTCLIP.{key}", value)]
        return build(tmp_path, "ZeroshotCLIP", tmp_path / "out", *options, tower=tower)

    return make


def text_feature(trainer, texts):
    units = []
    for text in texts:
        feature = trainer.clip.clip_model.encode_text(tokenize([text]))[0]
        units.append(feature / feature.norm())
    mean = sum(units) / len(units)
    return mean / mean.norm()


def assert_scores(trainer, texts):
    """Logits are CLIP's own, of each class's texts."""
    batch = next(iter(trainer.train_loader_x))
    views, _ = trainer.parse_batch_train(batch)
    logits = trainer.model.logits(views, trainer.model.text_features())
    rows = torch.stack([text_feature(trainer, texts[name]) for name in NAMES])
    expected = trainer.clip.clip_model.logit_scale.exp() * image_features(trainer, batch) @ rows.T
    assert torch.allclose(logits, expected, atol=1e-4)


def test_one_sentence(zeroshot):
    assert_scores(zeroshot(), {name: [f"a photo of a {name}."] for name in NAMES})
    mine = zeroshot("TEMPLATE", "my {} or your {}")
    assert_scores(mine, {name: [f"my {name} or your {name}"] for name in NAMES})


def test_an_ensemble_of_templates(zeroshot, tmp_path):
    (tmp_path / "mine.txt").write_text("one {}.\n\nmany of the {}\n")
    texts = {name: [f"one {name}.", f"many of the {name}"] for name in NAMES}
    assert_scores(zeroshot("TEMPLATES", tmp_path / "mine.txt"), texts)
    joined = {name: [" ".join(texts[name])[:20]] for name in NAMES}
    assert joined["cat"] == ["one cat. many of the"]
    assert_scores(zeroshot("TEMPLATES", tmp_path / "mine.txt", "JOIN", 20), joined)
    ours = {name: [fill(template, name) for template in read_templates("ours")] for name in NAMES}
    assert_scores(zeroshot("TEMPLATES", "ours"), ours)


def test_descriptions_of_the_classes(zeroshot, tmp_path):
    texts = {name: [f"{name} one", f"two of {name}"][: 1 + len(name) % 2] for name in NAMES}
    (tmp_path / "d.json").write_text(json.dumps(texts))
    assert_scores(zeroshot("DESCRIPTIONS", tmp_path / "d.json"), texts)


def test_it_trains_nothing(zeroshot, capsys):
    trainer = zeroshot()
    before = {name: value.clone() for name, value in trainer.clip.clip_model.state_dict().items()}
    trainer.train()
    assert "ZeroshotCLIP trains nothing." in capsys.readouterr().out
    assert all(
        torch.equal(value, before[name])
        for name, value in trainer.clip.clip_model.state_dict().items()
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("TEMPLATE", "a photo"), r"TEMPLATE must hold \{\}"),
        (("TEMPLATES", "ours", "DESCRIPTIONS", "d.json"), "takes TEMPLATES or DESCRIPTIONS"),
        (("JOIN", -1), "JOIN must be 0 or more, got -1"),
    ],
)
def test_what_makes_no_sentence_is_refused(more, message, zeroshot):
    with pytest.raises(ValueError, match=message):
        zeroshot(*more)
