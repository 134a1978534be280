"""What a checkpoint says of its run, and what an evaluation or a resumed run makes of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import train
from tests.helpers.models.small_clip import openai_weights, random_clip
from tests.helpers.sets.small_set import arguments, contexts, results, write_set
from trainers.base import PromptTrainer

BEST_TEST = ("TEST.FINAL_MODEL", "best_test", "OPTIM.LR", "0.5")


def command(trainer, output, *more):
    return arguments(Path("data"), trainer, Path(output), "OPTIM.MAX_EPOCH", "3", *more)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Runs of CoOp ("last", "best") and of a linear probe; for copying."""
    folder = tmp_path_factory.mktemp("finished")
    write_set(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "collect_env_info", str)
        patch.chdir(folder)
        train.main(command("CoOp", "last"))
        train.main(command("CoOp", "best", *BEST_TEST))
        train.main(command("LinearProbe", "probe"))
    return folder


@pytest.fixture(autouse=True)
def folder(finished, tmp_path, monkeypatch):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(model, output, *more, trainer="CoOp"):
    train.main(command(trainer, output, "--eval-only", "--model-dir", model, *more))


def refused(call, capsys):
    with pytest.raises((ValueError, FloatingPointError, SystemExit)) as stop:
        call()
    return str(stop.value) + capsys.readouterr().err


def rewrite(run, change):
    for path in Path(run).glob("*/model*"):
        content = torch.load(path, weights_only=True)
        change(content)
        torch.save(content, path)


class TestEvaluation:
    def test_selection_on_the_test_images_is_not_forgotten(self):
        evaluate("best", "seen")
        assert results(Path("seen"))["selection"] == "best_test"
        assert results(Path("seen"))["metrics"] == results(Path("best"))["metrics"]

    def test_nor_can_another_rule_be_claimed_for_it(self):
        evaluate("best", "seen", "TEST.FINAL_MODEL", "last_step")
        assert results(Path("seen"))["selection"] == "best_test"

    def test_the_last_epoch_is_the_last_epoch(self):
        evaluate("last", "seen", "TEST.FINAL_MODEL", "best_test")
        assert results(Path("seen"))["selection"] == "last_step"
        assert results(Path("seen"))["epoch"] == 3

    def test_a_chosen_epoch_is_called_that(self):
        shutil.copy("last/prompt_learner/model.pth.tar-3", "last/prompt_learner/model.pth.tar-2")
        rewrite("last", lambda content: content.update(epoch=2))
        evaluate("last", "seen", "--load-epoch", "2")
        assert results(Path("seen"))["selection"] == "epoch_2"

    def test_a_file_without_an_origin_is_read_and_said_to_lack_one(self):
        rewrite("last", lambda content: content.pop("run"))
        evaluate("last", "seen")
        assert results(Path("seen"))["selection"] == "unknown"
        assert results(Path("seen"))["metrics"] == results(Path("last"))["metrics"]
        log = Path("seen/log.txt").read_text()
        assert log.count("does not say which trainer, CLIP, class names and selection") == 1

    def test_the_training_keeps_its_results(self):
        before = Path("last/results.json").read_bytes()
        evaluate("last", "last", "TEST.SCORE", "softmax")
        assert Path("last/results.json").read_bytes() == before
        assert json.loads(Path("last/results_eval.json").read_text())["metrics"]

    def test_without_an_output_folder_it_writes_beside_the_training(self):
        words = command("CoOp", "unused", "--eval-only", "--model-dir", "last")
        at = words.index("--output-dir")
        before = Path("last/results.json").read_bytes()
        train.main(words[:at] + words[at + 2 :])
        assert Path("last/results_eval.json").is_file() and not Path("output").exists()
        assert Path("last/results.json").read_bytes() == before


class TestWhatDoesNotBelong:
    def test_another_trainer(self, capsys):
        message = refused(lambda: evaluate("last", "seen", trainer="LMPT"), capsys)
        assert "was trained by CoOp, not by LMPT" in message

    def test_another_trainer_to_go_on_from(self, capsys):
        words = command("LMPT", "new", "--resume", "last")
        assert "was trained by CoOp, not by LMPT" in refused(lambda: train.main(words), capsys)

    @pytest.mark.parametrize("again", [False, True])
    def test_another_clip_of_the_same_width(self, again, capsys):
        torch.save(openai_weights(random_clip("ViT", seed=3)), "data/mine/clip.pt")
        Path("last/conditions.json").unlink()
        call = (lambda: train.main(command("CoOp", "last"))) if again else None
        message = refused(call or (lambda: evaluate("last", "seen")), capsys)
        assert "was trained on another CLIP" in message

    def test_other_classes_where_each_has_a_part_of_its_own(self, capsys):
        labels = Path("data/mine/labels.txt")
        labels.write_text(labels.read_text().replace("dog", "wolf"))
        message = refused(lambda: evaluate("probe", "seen", trainer="LinearProbe"), capsys)
        assert "class 2 is 'dog' there, 'wolf' here" in message

    def test_another_trainer_to_start_from(self, capsys):
        path = next(Path("probe").glob("*/model.pth.tar-3"))
        words = command("CoOp", "new", "MODEL.INIT_WEIGHTS", str(path))
        message = refused(lambda: train.main(words), capsys)
        assert f"{path} does not hold what this trainer starts from: 1 tensor missing (ctx)" in (
            message
        )
        assert not list(Path("new").glob("*/model*"))

    def test_other_options_are_told(self):
        evaluate("last", "seen", "TRAINER.COOP.PREC", "fp16")
        assert (
            "options are others: PREC 'fp32' there, 'fp16' here" in Path("seen/log.txt").read_text()
        )


class TestGoingOn:
    def test_a_finished_run_keeps_its_seconds(self):
        before = results(Path("last"))
        train.main(command("CoOp", "last"))
        after = results(Path("last"))
        assert after["metrics"] == before["metrics"]
        assert after["selection"] == before["selection"]
        assert after["seconds"] >= before["seconds"]

    def test_checkpoints_for_going_on_do_not_pile_up(self, monkeypatch):
        after_epoch = PromptTrainer.after_epoch

        def interrupted(self):
            after_epoch(self)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(PromptTrainer, "after_epoch", interrupted)
            for epoch in (1, 2, 3):
                with pytest.raises(SystemExit):
                    train.main(command("CoOp", "new"))
                names = {path.name for path in Path("new/prompt_learner").iterdir()}
                assert names == {"checkpoint", f"model.pth.tar-{epoch}"}
        train.main(command("CoOp", "new"))
        assert torch.equal(contexts(Path("new")), contexts(Path("last")))

    def test_a_run_stopped_between_its_best_and_its_last_checkpoint_gets_both(self, monkeypatch):
        save = PromptTrainer.save_model

        def stopped(self, *place, model_name="", **more):
            if not model_name:
                raise ZeroDivisionError
            save(self, *place, model_name=model_name, **more)

        with monkeypatch.context() as patch:
            patch.setattr(PromptTrainer, "save_model", stopped)
            patch.setattr(PromptTrainer, "test", lambda self, split=None: 50.0)
            with pytest.raises(ZeroDivisionError):
                train.main(command("CoOp", "new", *BEST_TEST, "OPTIM.MAX_EPOCH", "1"))
        folder = Path("new/prompt_learner")
        assert [path.name for path in folder.glob("model*")] == ["model-best.pth.tar"]
        train.main(command("CoOp", "new", *BEST_TEST, "OPTIM.MAX_EPOCH", "1"))
        assert (folder / "model.pth.tar-1").is_file()
        assert (folder / "checkpoint").read_text() == "model.pth.tar-1\n"

    def test_weights_that_are_infinite_never_replace_good_ones(self, monkeypatch, capsys):
        update = PromptTrainer.model_update

        def diverging(self, names=None):
            update(self, names)
            if self.epoch == 1:  # a finite loss, an infinite step
                self.model.learner.ctx.data[0, 0] = float("inf")

        with monkeypatch.context() as patch:
            patch.setattr(PromptTrainer, "model_update", diverging)
            # One batch an epoch: no later loss of the epoch would show it.
            more = ("DATALOADER.TRAIN_X.BATCH_SIZE", "32")
            message = refused(lambda: train.main(command("CoOp", "new", *more)), capsys)
        assert "infinite" in message and "ctx" in message
        names = {path.name for path in Path("new/prompt_learner").glob("model*")}
        assert names == {"model.pth.tar-1"}
        assert torch.isfinite(contexts(Path("new"))).all()
