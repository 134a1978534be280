from __future__ import annotations

import pytest
import torch

import train
from prediction import load_run
from prediction.other_classes import parse_classnames, why_classes_stay, with_classes
from tests.helpers.runs.untrained_runs import a_picture, untrained
from tests.helpers.sets.small_set import NAMES, arguments

OTHERS = ["wolf", "barn owl"]


@pytest.mark.parametrize("tuned", [(), ("TRAINER.TUNE.NAME", "lora", "TRAINER.TUNE.TOWER", "both")])
def test_shared_contexts_score_other_classes_as_a_run_read_for_them_does(roots, tmp_path, tuned):
    words = ("TRAINER.COOP.CSC", "False", "TRAINER.COOP.COSINE_OFFSET", "learnt", *tuned)
    train.main(arguments(roots["ViT"], "CoOp", tmp_path / "run", *words, "OPTIM.MAX_EPOCH", "2"))
    run = load_run(tmp_path / "run")
    image = run.transform(a_picture(roots["ViT"])[1])[None]
    before = run.logits(image)
    renamed = with_classes(run, OTHERS)
    assert renamed.classnames == OTHERS
    expected = load_run(tmp_path / "run", classnames=OTHERS).logits(image)
    torch.testing.assert_close(renamed.logits_of(run.features(image)), expected)
    torch.testing.assert_close(run.logits(image), before)
    assert run.classnames == NAMES


def test_zero_shot_clip_and_unseen_classes_take_other_names(roots):
    for trainer, words in (
        ("ZeroshotCLIP", ()),
        ("LMCLIP", ()),
        ("DualCoOp", ("TRAINER.DUALCOOP.CSC", "False", "TRAINER.DUALCOOP.UNSEEN", "['dog']")),
    ):
        run = untrained(roots["ViT"], trainer, *words)
        assert why_classes_stay(run) == ""
        image = run.transform(a_picture(roots["ViT"])[1])[None]
        found = with_classes(run, [*OTHERS, "dog"]).logits(image)
        torch.testing.assert_close(found[0, 2], run.logits(image)[0, NAMES.index("dog")])


@pytest.mark.parametrize("trainer", ("LMPT", "LinearProbe"))
def test_parts_of_their_own_tie_a_model_to_its_classes(trainer, roots):
    run = untrained(roots["ViT"], trainer)
    reason = why_classes_stay(run)
    assert reason.startswith(f"{trainer} keeps its 4 classes")
    assert ("TRAINER.LMPT.CSC False" in reason) == (trainer == "LMPT")
    with pytest.raises(ValueError, match="keeps its 4 classes"):
        with_classes(run, OTHERS)


def test_names_are_read_one_a_line():
    assert parse_classnames("  cat\n\ntraffic \t light \r\ndog") == ["cat", "traffic light", "dog"]
    for text, message in (
        (" \n", "no class name"),
        ("cat\ndog\ncat ", "'cat' is there twice"),
        ("\n".join(map(str, range(1001))), "1,001 class names; give at most 1,000"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_classnames(text)
