from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train
from tests.helpers.runs.event_values import event_values
from tests.helpers.sets.small_set import NAMES, TRAIN, arguments, results, write_set
from trainers.base import PromptTrainer

PAGE = Path(__file__).resolve().parents[4] / "docs" / "logging.md"
EPOCHS, STEPS = 4, 3  # of the small set's runs
WATCHED = ("TEST.FINAL_MODEL", "best_test", "TRAIN.PRINT_FREQ", "1")
LEARNT = ("TRAINER.LMPT.LOGIT_SCALE_LEARNABLE", "True", "TRAINER.LMPT.COSINE_OFFSET", "learnt")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Root of a data set, and LMPT's run on it, evaluated after every epoch."""
    root = tmp_path_factory.mktemp("data")
    write_set(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "collect_env_info", str)
        train.main(arguments(root, "LMPT", root / "run", *WATCHED, *LEARNT))
    return root, root / "run"


@pytest.fixture(scope="module")
def values(run):
    return event_values(run[1] / "tensorboard")


def steps(values, tag):
    return [step for step, _ in values[tag]]


def final_epoch(output):
    return results(output)["epoch"] - 1


def test_training_counts_steps_and_evaluations_count_epochs(values, run):
    every = list(range(EPOCHS * STEPS))
    tags = ["train/loss", "train/lr", "learner/grad_norm", "learner/weight_norm"]
    for tag in [*tags, "learner/ctx_norm", "learner/scale", "learner/offset"]:
        assert steps(values, tag) == every, tag
    for tag in ("speed/images_per_second", "speed/waiting_percent"):
        assert steps(values, tag) == [STEPS * epoch + STEPS - 1 for epoch in range(EPOCHS)]
    for tag in ("test/mAP", "test_AP/cat", "test_AP/traffic_light"):
        assert steps(values, tag) == list(range(EPOCHS)), tag
    for tag in ("final/mAP", "pr/all", "examples_test/0", "similarity/texts"):
        assert steps(values, tag) == [final_epoch(run[1])], tag
    assert steps(values, "run/config/text_summary") == steps(values, "examples_train/0") == [0]


def test_values_are_those_of_the_results(values, run):
    found = results(run[1])
    for name, value in found["metrics"].items():
        assert values[f"final/{name}"][0][1] == pytest.approx(value, rel=1e-5)
    best = final_epoch(run[1])
    for row in found["per_class"]:
        tag = f"test_AP/{row['name'].replace(' ', '_')}"
        assert values[tag][best][1] == pytest.approx(row["AP"], rel=1e-5)
    assert values["learner/scale"][0][1] != values["learner/scale"][-1][1]


def test_curves_pictures_and_hyperparameters_are_what_tensorboard_expects(run):
    board = EventAccumulator(str(run[1] / "tensorboard"), {"tensors": 0, "images": 0})
    board.Reload()
    assert board.Tensors("pr/all")[0].tensor_proto.tensor_shape.dim[0].size == 6
    groups = {row["group"] for row in results(run[1])["per_class"]}
    assert {f"pr/{group}" for group in groups} <= set(board.Tags()["tensors"])
    assert f"pr_class/{NAMES[1].replace(' ', '_')}" in board.Tags()["tensors"]
    card = Image.open(io.BytesIO(board.Images("examples_train/0")[0].encoded_image_string))
    assert np.asarray(card).std() > 0
    hparams = board.PluginTagToContent("hparams")
    start = hparams["_hparams_/session_start_info"]
    assert b"TRAINER.LMPT.N_CTX" in start and b"OPTIM.LR" in start and b"COOP" not in start
    assert b"final/mAP" in hparams["_hparams_/experiment"]


@pytest.mark.parametrize("hook", ["forward_backward", "save_model", "after_train"])
def test_a_run_that_goes_on_has_each_step_once(hook, run, values, tmp_path, monkeypatch):
    output = tmp_path / "out"
    command = arguments(run[0], "LMPT", output, *WATCHED, *LEARNT)
    original = getattr(PromptTrainer, hook)

    def stopped(self, *inputs, **more):
        """In an epoch, after an evaluation and before its checkpoint, or at the very end."""
        if hook == "after_train":
            original(self)
        self.board.flush()
        if hook == "after_train" or self.epoch == 2 and self.batch_idx > 0:
            raise KeyboardInterrupt
        return original(self, *inputs, **more)

    with monkeypatch.context() as patch:
        patch.setattr(PromptTrainer, hook, stopped)
        with pytest.raises(SystemExit):
            train.main(command)
    train.main(command)
    resumed = event_values(output / "tensorboard")
    assert set(resumed) == set(values)
    for tag, written in values.items():
        assert steps(resumed, tag) == [step for step, _ in written], tag
        if not tag.startswith(("speed/", "run/", "_hparams_")):
            assert resumed[tag] == written, tag


def test_runs_without_a_training_appear_too(run, tmp_path):
    train.main(arguments(run[0], "ZeroshotCLIP", tmp_path / "zero"))
    zero = event_values(tmp_path / "zero" / "tensorboard")
    assert steps(zero, "final/mAP") == steps(zero, "test/mAP") == [0]
    assert not any(tag.startswith(("train/", "examples_train/")) for tag in zero)
    before = event_values(run[1] / "tensorboard")
    for _ in range(2):  # the second evaluation takes the place of the first
        train.main(["--eval-only", "--model-dir", str(run[1])])
    evaluated = event_values(run[1] / "tensorboard_eval")
    assert steps(evaluated, "final/mAP") == [final_epoch(run[1])]
    assert evaluated["final/mAP"] == before["final/mAP"]
    assert event_values(run[1] / "tensorboard") == before


def test_images_are_counted(values):
    assert TRAIN % 8  # the last batch is smaller, and counted as what it is
    assert all(value > 0 for _, value in values["speed/images_per_second"])
    assert all(0 <= value <= 100 for _, value in values["speed/waiting_percent"])


def test_every_tag_is_documented_with_its_axis(values):
    rows = re.findall(r"^\| (`.*`) \| (steps|epochs) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    patterns = {
        re.sub(r"<\w+>", ".+", tag.replace("<split>", "(val|test)")): axis
        for tags, axis in rows
        for tag in re.findall("`(.*?)`", tags)
    }
    for tag, written in values.items():
        tag = tag.removesuffix("/text_summary")
        axes = {axis for pattern, axis in patterns.items() if re.fullmatch(pattern, tag)}
        assert axes or tag.startswith("_hparams_/"), tag
        if max(step for step, _ in written) >= EPOCHS:
            assert axes == {"steps"}, tag
