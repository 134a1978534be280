from __future__ import annotations

import pytest

from command_line import build_parser
from configuration import build_cfg
from tests.helpers.runs.fake_training import small_plan


def read(words):
    return build_cfg(build_parser().parse_intermixed_args(words))


@pytest.fixture
def plan(roots, tmp_path):
    return lambda **more: small_plan(roots["ViT"], tmp_path, **more)


def test_trials_end_on_held_out_images_and_the_chosen_setting_on_the_test_images(plan, tmp_path):
    (tmp_path / "a.yaml").write_text("OPTIM:\n  LR: 0.125\n")
    own = plan(score="softmax", seed=7)
    trial = read(own.trial_words("CoOp", tmp_path / "run", tmp_path / "a.yaml", epochs=10))
    final = read(own.final_words("CoOp", tmp_path / "run", tmp_path / "a.yaml", seed=3))
    for cfg in (trial, final):
        assert cfg.TRAINER.NAME == "CoOp" and cfg.OPTIM.LR == 0.125 and cfg.TEST.SCORE == "softmax"
        assert cfg.TEST.FINAL_MODEL == "last_step" and cfg.DATASET.FOLDER == "mine"
    assert (trial.TEST.SPLIT, trial.SEED, trial.DATASET.VAL_FRACTION) == ("val", 7, 0.2)
    assert (final.TEST.SPLIT, final.SEED, final.DATASET.VAL_FRACTION) == ("test", 3, 0)
    assert not trial.DATASET.TEST_PICTURES and final.DATASET.TEST_PICTURES
    assert trial.TEST.EVAL_FREQ == 0
    pruned = plan(pruner="median")
    words = pruned.trial_words("CoOp", tmp_path / "run", tmp_path / "a.yaml", epochs=10)
    assert read(words).TEST.EVAL_FREQ == 3  # after 3, 6 and 9 epochs


def test_validation_images_of_the_data_set_come_first(plan, roots, tmp_path):
    assert (
        plan(overrides=("DATASET.FOLDER", "mine", "DATASET.VAL_FRACTION", "0.3")).val_fraction
        == 0.3
    )
    listed = tmp_path / "listed"
    listed.mkdir()
    for path in (roots["ViT"] / "mine").iterdir():
        (listed / path.name).symlink_to(path)
    (listed / "val.txt").write_text((listed / "test.txt").read_text())
    own = small_plan(tmp_path, tmp_path, overrides=("DATASET.FOLDER", "listed"))
    assert own.val_fraction == 0


def test_methods_come_with_recipe_and_seeds(plan):
    own = plan(trainers=("coop", "CoOp", "LMPT"))
    assert own.trainers == ("CoOp", "LMPT")
    method = own.method("CoOp")
    assert method.recipe.name == "tiny.yaml" and method.epochs == 15 and method.seeds == (1, 2)
    assert method.recommended["OPTIM.LR"] == 0.015
    (own.spaces / "ZeroshotCLIP.yaml").write_text("TRAINER.ZEROSHOTCLIP.TEMPLATES: ['', ours]")
    zero = own.method("ZeroshotCLIP")
    assert zero.recipe is None and zero.seeds == (1,)  # nothing is drawn


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"dataset": "voc"}, "DATASET must be one of .*voc_lt"),
        ({"backbone": "vit"}, "BACKBONE must be one of"),
        ({"trainers": ("LMTP",)}, "TRAINERS must be one of .*Did you mean 'LMPT'"),
        ({"trainers": ()}, "got 0 methods"),
        ({"trials": 0}, "0 trials"),
        ({"seeds": (-1,)}, "seeds of 0 or more"),
        ({"sampler": "tpes"}, "--sampler must be one of .*Did you mean 'tpe'"),
        ({"pruner": "mean"}, "--pruner must be one of"),
        ({"score": "soft"}, "TEST.SCORE must be one of"),
        ({"overrides": ("TEST.SPLIT", "test")}, "TEST.SPLIT is set by the sweep"),
        ({"overrides": ("RECIPE.TRIALS", "9")}, "RECIPE.TRIALS is set by the sweep"),
        ({"overrides": ("OPTIM.LRR", "9")}, "unknown config key 'OPTIM.LRR'"),
    ],
)
def test_what_is_refused(more, message, plan):
    with pytest.raises(ValueError, match=message):
        plan(**more)


def test_a_key_is_searched_or_set(plan):
    own = plan(overrides=("DATASET.FOLDER", "mine", "OPTIM.LR", "0.1"))
    with pytest.raises(ValueError, match="OPTIM.LR is searched in .*CoOp.yaml"):
        own.method("CoOp")
