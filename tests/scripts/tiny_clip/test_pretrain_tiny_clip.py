"""The pre-training of the tiny CLIP: its loss, its export, and the asset it made."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from datasets.shapes.renderer import BENCHMARK, PRETRAIN
from modeling.clip.loader import TINY, load_clip
from scripts.tiny_clip import pretrain as pretrain_tiny_clip
from scripts.tiny_clip.data import DrawnBatches, Vocabulary
from scripts.tiny_clip.pretrain import (
    Checkpoint,
    build_model,
    export,
    main,
    normalise,
    soft_contrastive_loss,
    true_texts,
    zero_shot_map,
)

FEW = "--steps 4 --batch-size 6 --width 4 --text-layers 1 --workers 0 --eval-images 150".split()


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary()


@pytest.fixture(scope="module")
def batch():
    return DrawnBatches(steps=1, batch_size=16, seed=3)[0]


def test_true_texts_equals_naive_loops(batch):
    matches = true_texts(batch)
    for i, shown in enumerate(batch.shown):
        for j, mentioned in enumerate(batch.mentioned):
            expected = set(mentioned.nonzero().flatten().tolist()) <= set(
                shown.nonzero().flatten().tolist()
            )
            assert matches[i, j] == expected


def test_loss_with_the_unit_matrix_is_the_loss_of_clip():
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    answers = torch.arange(5)
    expected = (F.cross_entropy(logits, answers) + F.cross_entropy(logits.T, answers)) / 2
    torch.testing.assert_close(soft_contrastive_loss(logits, torch.eye(5).bool()), expected)


def test_loss_equals_naive_loops():
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    matches = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0]]).bool()  # text 3: of none
    sides = []
    for table, right in ((logits, matches), (logits.T, matches.T)):
        terms = []
        for row, answers in zip(table, right, strict=True):
            if answers.any():
                logs = [row[k] - torch.logsumexp(row, 0) for k in range(len(row)) if answers[k]]
                terms.append(-sum(logs) / len(logs))
        sides.append(sum(terms) / len(terms))
    torch.testing.assert_close(soft_contrastive_loss(logits, matches), sum(sides) / 2)


def test_exported_model_has_the_features_of_the_trained_one(vocabulary, batch, tmp_path):
    torch.manual_seed(0)
    model = build_model(len(vocabulary), width=4, text_layers=1)
    model.encode_image(normalise(batch.images))  # moves the batch statistics off their start
    model.eval()
    export(model, vocabulary, tmp_path / "a.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
    loaded = load_clip(str(tmp_path / "a.safetensors"))
    tokens = torch.zeros(len(batch.tokens), 77, dtype=torch.long)
    tokens[:, : batch.tokens.shape[1]] = vocabulary.ids[batch.tokens]
    with torch.no_grad():
        pairs = (
            (model.encode_text(batch.tokens), loaded.encode_text(tokens)),
            (
                model.encode_image(normalise(batch.images)),
                loaded.encode_image(normalise(batch.images)),
            ),
        )
        for trained, exported in pairs:
            assert F.cosine_similarity(trained, exported).min() > 0.999


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path, monkeypatch, capsys):
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    scores = main([*FEW, "--output", str(whole)])
    assert set(scores) == {"PRETRAIN", "BENCHMARK"}
    assert f"mAP in the PRETRAIN style: {scores['PRETRAIN']:.1f}" in capsys.readouterr().out

    step, calls = pretrain_tiny_clip.training_step, []

    def die_at_the_third(model, batch):
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(model, batch)

    monkeypatch.setattr(pretrain_tiny_clip, "training_step", die_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        main([*FEW, "--output", str(killed), "--save-every", "2"])
    assert not killed.exists()
    main([*FEW, "--output", str(killed), "--save-every", "2"])
    assert len(calls) == 3 + 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [killed.name, whole.name]
    weights = [load_clip(str(path)).state_dict() for path in (whole, killed)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, msg=name)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    Checkpoint(tmp_path / "c.pt", {"seed": 1}).save(5)
    assert Checkpoint(tmp_path / "c.pt", {"seed": 1}).restore() == 5
    with pytest.raises(ValueError, match=r"belongs to \{'seed': 1\}, but this run has"):
        Checkpoint(tmp_path / "c.pt", {"seed": 2}).restore()


def test_the_asset_is_small_and_good_but_not_perfect_on_shapes_lt():
    assert TINY.stat().st_size < 8_000_000
    model = load_clip("tiny")
    assert 10 < model.logit_scale.exp() <= 100.1
    in_style, shifted = (zero_shot_map(model, style, 300, 77) for style in (PRETRAIN, BENCHMARK))
    assert 45 < shifted < 78
    assert in_style > shifted + 5
