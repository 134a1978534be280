from __future__ import annotations

import importlib
import re

import pytest
import torch

import train
from common.user_errors import run_command
from evaluation.metrics.average_precision import average_precision
from tests.helpers.models.small_clip import TOWERS, random_clip
from tests.helpers.sets.small_set import NAMES, arguments, contexts, results, write_set
from trainers.base import PromptTrainer


@pytest.fixture
def root(tmp_path):
    write_set(tmp_path / "data")
    return tmp_path / "data"


def losses(output):
    paths = sorted(output.glob("log.txt*"), key=lambda path: (path.name == "log.txt", path.name))
    log = "".join(path.read_text() for path in paths)  # log.txt is that of the last process
    return re.findall(r"epoch \[(\d+)/\d+\] batch \[(\d+)/\d+\].* loss (\S+)", log)


def interrupt_after(monkeypatch, epoch):
    after_epoch = PromptTrainer.after_epoch

    def interrupted(self):
        after_epoch(self)
        if self.epoch + 1 == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(PromptTrainer, "after_epoch", interrupted)


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("trainer", ["CoOp", "LMPT", "ZeroshotCLIP"])
def test_every_trainer_runs_and_reports(trainer, tower, tmp_path):
    root, output = tmp_path / "data", tmp_path / "out"
    write_set(root, tower)
    train.main(arguments(root, trainer, output, tower=tower))
    found = results(output)
    assert (found["trainer"], found["dataset"], found["seed"]) == (trainer, "ListLT", 1)
    assert found["epoch"] == (0 if trainer == "ZeroshotCLIP" else 4)
    assert found["split"] == "test" and found["selection"] == "last_step"
    assert 0 < found["metrics"]["mAP"] <= 100
    assert [row["name"] for row in found["per_class"]] == NAMES
    log = (output / "log.txt").read_text()
    assert re.search(r"^\* mAP: [\d.]+%$", log, re.MULTILINE)
    if trainer != "ZeroshotCLIP":
        assert "Finish training" in log and (output / "tensorboard").is_dir()
        assert len(losses(output)) >= 4
        folder = output / "prompt_learner"
        assert sorted(p.name for p in folder.iterdir()) == ["checkpoint", "model.pth.tar-4"]


def test_coops_own_parser_would_read_the_log(root, tmp_path):
    train.main(arguments(root, "CoOp", tmp_path / "out"))
    lines = (tmp_path / "out" / "log.txt").read_text().splitlines()
    after = lines[lines.index("Finish training") :]
    value = [m[1] for line in after if (m := re.match(r"\* mAP: ([\.\deE+-]+)%", line))][-1]
    assert float(value) == pytest.approx(results(tmp_path / "out")["metrics"]["mAP"], abs=0.005)


@pytest.mark.parametrize("trainer", ["CoOp", "LMPT"])
def test_a_resumed_run_equals_an_uninterrupted_one(trainer, root, tmp_path, monkeypatch):
    train.main(arguments(root, trainer, tmp_path / "whole"))
    command = arguments(root, trainer, tmp_path / "halved")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(SystemExit) as stop:
            train.main(command)
    assert stop.value.code == 130
    assert not (tmp_path / "halved" / "results.json").exists()
    train.main(command)
    assert torch.equal(contexts(tmp_path / "whole"), contexts(tmp_path / "halved"))
    assert losses(tmp_path / "whole") == losses(tmp_path / "halved")
    whole, halved = results(tmp_path / "whole"), results(tmp_path / "halved")
    assert whole["metrics"] == halved["metrics"]
    files = sorted(p.name for p in (tmp_path / "halved" / "prompt_learner").iterdir())
    assert files == ["checkpoint", "model.pth.tar-4"]


def test_a_finished_run_is_evaluated_again_not_trained_again(root, tmp_path):
    command = arguments(root, "CoOp", tmp_path / "out")
    train.main(command)
    before = results(tmp_path / "out")
    train.main(command)
    assert len(losses(tmp_path / "out")) == len(set(losses(tmp_path / "out")))
    assert results(tmp_path / "out")["metrics"] == before["metrics"]


@pytest.mark.parametrize("trainer", ["CoOp", "LMPT"])
def test_cached_equals_encoding_in_every_step(trainer, root, tmp_path):
    train.main(arguments(root, trainer, tmp_path / "fast"))
    train.main(arguments(root, trainer, tmp_path / "slow", "DATALOADER.CACHE", "off"))
    fast, slow = contexts(tmp_path / "fast"), contexts(tmp_path / "slow")
    assert (fast - slow).abs().max() < 1e-5
    fast, slow = results(tmp_path / "fast"), results(tmp_path / "slow")
    assert fast["metrics"]["mAP"] == pytest.approx(slow["metrics"]["mAP"], abs=0.01)


def test_endless_views_are_encoded_in_every_step(root, tmp_path, capsys):
    more = ("INPUT.TRANSFORMS", "('random_resized_crop','random_flip','normalize')")
    train.main(arguments(root, "CoOp", tmp_path / "a", *more))
    assert "Encoding in every step" in (tmp_path / "a" / "log.txt").read_text()
    train.main(arguments(root, "CoOp", tmp_path / "b", *more))
    assert torch.equal(contexts(tmp_path / "a"), contexts(tmp_path / "b"))


def test_eval_only_repeats_the_metrics_of_training(root, tmp_path):
    train.main(arguments(root, "LMPT", tmp_path / "run", "TRAIN.CHECKPOINT_FREQ", "2"))
    checkpoint = ["--eval-only", "--model-dir", str(tmp_path / "run")]
    train.main(arguments(root, "LMPT", tmp_path / "eval", *checkpoint))
    assert results(tmp_path / "eval")["metrics"] == results(tmp_path / "run")["metrics"]
    assert results(tmp_path / "eval")["epoch"] == 4
    train.main(arguments(root, "LMPT", tmp_path / "early", *checkpoint, "--load-epoch", "2"))
    assert results(tmp_path / "early")["epoch"] == 2
    with pytest.raises(FileNotFoundError, match="epoch 3.*It has epochs 2, 4"):
        train.main(arguments(root, "LMPT", tmp_path / "no", *checkpoint, "--load-epoch", "3"))


def test_coops_checkpoints_are_read(root, tmp_path):
    train.main(arguments(root, "CoOp", tmp_path / "run"))
    path = tmp_path / "run" / "prompt_learner" / "model.pth.tar-4"
    content = torch.load(path, weights_only=True)
    content["state_dict"]["token_prefix"] = torch.zeros(1, 1, 64)
    content["state_dict"]["token_suffix"] = torch.zeros(1, 60, 64)
    torch.save(content, path)
    checkpoint = ["--eval-only", "--model-dir", str(tmp_path / "run")]
    train.main(arguments(root, "CoOp", tmp_path / "eval", *checkpoint))
    assert results(tmp_path / "eval")["metrics"] == results(tmp_path / "run")["metrics"]


def test_contexts_of_other_classes_are_pointed_out(root, tmp_path):
    shared = ("TRAINER.COOP.CSC", "False")
    train.main(arguments(root, "CoOp", tmp_path / "run", *shared))
    checkpoint = ["--eval-only", "--model-dir", str(tmp_path / "run"), *shared]
    train.main(arguments(root, "CoOp", tmp_path / "same", *checkpoint))
    assert "that run's classes" not in (tmp_path / "same" / "log.txt").read_text()
    labels = root / "mine" / "labels.txt"
    labels.write_text(labels.read_text().replace("dog", "wolf"))
    train.main(arguments(root, "CoOp", tmp_path / "other", *checkpoint))
    log = (tmp_path / "other" / "log.txt").read_text()
    assert "that run's classes are cat, traffic light, dog, ...; those here are" in log


def test_broken_pictures_are_named_before_training_on_request(root, tmp_path, capsys):
    command = arguments(root, "CoOp", tmp_path / "out", "--check")
    train.main(command)
    assert "All 30 pictures can be decoded" in (tmp_path / "out" / "log.txt").read_text()
    (root / "mine/pictures/train3.png").write_bytes(b"")
    (root / "mine/pictures/test1.png").write_bytes(b"\x89PNG")
    with pytest.raises(SystemExit) as stop:
        train.main(arguments(root, "CoOp", tmp_path / "broken", "--check"))
    assert stop.value.code == 1
    log = (tmp_path / "broken" / "log.txt").read_text()
    assert "2 of 30 pictures cannot be used" in log
    assert "train3.png" in log and "test1.png" in log and "epoch [1" not in log


@pytest.mark.parametrize("trainer", ["CoOp", "FinetuneCLIP", "ZeroshotCLIP"])
def test_runs_that_end_on_validation_images_do_without_test_pictures(trainer, root, tmp_path):
    for path in (root / "mine" / "pictures").glob("test*"):
        path.unlink()
    words = ("TEST.SPLIT", "val", "DATASET.VAL_FRACTION", "0.3", "OPTIM.MAX_EPOCH", "1")
    words += ("TEST.SAVE_SCORES", "all", "TEST.EVAL_FREQ", "1", "--check")
    train.main(arguments(root, trainer, tmp_path / "out", *words))
    assert results(tmp_path / "out")["split"] == "val"
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "All 21 pictures can be decoded" in log and "*test*" not in log
    with pytest.raises(FileNotFoundError, match="9 of 9 test pictures"):
        train.main(
            arguments(root, trainer, tmp_path / "best", *words, "TEST.FINAL_MODEL", "best_test")
        )


def test_a_run_may_be_watched_and_ended(root, tmp_path):
    seen, words = [], arguments(root, "CoOp", tmp_path / "out", "TEST.EVAL_FREQ", "1")

    def watch(*evaluation):
        seen.append(evaluation)
        if evaluation[0] == 2:
            raise SystemExit(3)

    with pytest.raises(SystemExit):
        train.main(words, watch)
    assert [evaluation[:2] for evaluation in seen] == [(1, "test"), (2, "test")]
    assert all(0 < metric <= 100 for *_, metric in seen)
    assert not (tmp_path / "out" / "results.json").exists()
    train.main(words, lambda *evaluation: seen.append(evaluation))  # goes on from the checkpoint
    assert [evaluation[0] for evaluation in seen] == [1, 2, 2, 3]  # the last one is no look ahead


def test_results_say_how_the_recipe_was_chosen_if_it_does(root, tmp_path):
    train.main(arguments(root, "ZeroshotCLIP", tmp_path / "plain"))
    assert "recipe" not in results(tmp_path / "plain")
    words = ("RECIPE.CHOSEN_ON", "val", "RECIPE.TRIALS", "24", "RECIPE.MAP", "61.5")
    train.main(arguments(root, "ZeroshotCLIP", tmp_path / "chosen", *words))
    recipe = results(tmp_path / "chosen")["recipe"]
    assert (recipe["chosen_on"], recipe["trials"], recipe["mAP"]) == ("val", 24, 61.5)


def test_scores_of_the_test_images_are_kept_unless_refused(root, tmp_path):
    import numpy as np

    train.main(arguments(root, "CoOp", tmp_path / "out"))
    saved = np.load(tmp_path / "out" / "scores.npz", allow_pickle=False)
    assert saved["scores"].shape == saved["targets"].shape == (9, 4)
    assert saved["paths"][0].endswith("test0.png")
    precisions = average_precision(*map(torch.from_numpy, (saved["scores"], saved["targets"])))
    written = results(tmp_path / "out")["metrics"]["mAP"]
    assert 100 * precisions.nanmean().item() == pytest.approx(written, abs=1e-9)
    assert not (tmp_path / "out" / "scores_train.npz").exists()
    train.main(arguments(root, "CoOp", tmp_path / "none", "TEST.SAVE_SCORES", "off"))
    assert not list((tmp_path / "none").glob("*.npz"))


class TestStep:
    @pytest.fixture
    def trainer(self, root, tmp_path):
        def build(name, *more):
            parser = train.build_parser()
            args = parser.parse_intermixed_args(arguments(root, name, tmp_path / "out", *more))
            return train.build_trainer(train.build_cfg(args))

        return build

    def test_only_the_learner_changes_and_towers_stay_in_eval_mode(self, trainer):
        built = trainer("CoOp")
        before = {name: p.clone() for name, p in built.clip.clip_model.state_dict().items()}
        assert built.get_model_names() == ["prompt_learner"]
        start = built.model.learner.ctx.detach().clone()
        built.train()
        assert not torch.equal(built.model.learner.ctx, start)
        assert not built.clip.clip_model.training
        assert all(torch.equal(p, before[n]) for n, p in built.clip.clip_model.state_dict().items())
        assert all(p.grad is None for p in built.clip.clip_model.parameters())

    def test_logits_are_clips_own(self, trainer):
        built = trainer("ZeroshotCLIP")
        clip_model = random_clip("ViT")
        clip = importlib.import_module("clip")
        images = torch.rand(3, 3, 32, 32)
        tokens = clip.tokenize([f"a photo of a {name}." for name in NAMES])
        theirs, _ = clip_model(images, tokens)
        ours = built.model_inference(built.clip.encode_images(images))
        assert torch.allclose(ours, theirs, atol=1e-4)

    @pytest.mark.parametrize("precision", ["fp16", "bf16", "amp"])
    @pytest.mark.parametrize("name", ["CoOp", "LMPT"])
    def test_lower_precisions_train_without_nan(self, trainer, name, precision):
        built = trainer(name, f"TRAINER.{name.upper()}.PREC", precision)
        start = built.model.learner.ctx.detach().clone()
        built.train()
        assert built.model.learner.ctx.dtype is torch.float32
        assert torch.isfinite(built.model.learner.ctx).all()
        assert not torch.equal(built.model.learner.ctx, start)

    def test_the_input_size_must_be_the_towers(self, trainer):
        with pytest.raises(ValueError, match=r'INPUT.SIZE "\(32, 32\)"'):
            trainer("CoOp", "INPUT.SIZE", "(64, 64)")

    def test_wrong_values_are_refused(self, trainer):
        with pytest.raises(
            ValueError, match="DATALOADER.CACHE must be one of auto, features, images, off"
        ):
            trainer("CoOp", "DATALOADER.CACHE", "yes")
        with pytest.raises(ValueError, match=r"LAMBDA must be in \[0, 1\], got 1.5"):
            trainer("LMPT", "TRAINER.LMPT.LAMBDA", "1.5")
        with pytest.raises(ValueError, match="M_CTX must leave context tokens"):
            trainer("LMPT", "TRAINER.LMPT.M_CTX", "16")
        with pytest.raises(ValueError, match="must hold {}"):
            trainer("ZeroshotCLIP", "TRAINER.ZEROSHOTCLIP.TEMPLATE", "a photo")

    def test_lmpt_without_captions_says_so(self, trainer, root):
        (root / "mine" / "captions.txt").unlink()
        with pytest.raises(ValueError, match="needs captions"):
            trainer("LMPT")


class TestCommandLine:
    def fails_with(self, command, message, capsys):
        with pytest.raises(SystemExit) as stop:
            run_command(lambda: train.main(command))
        assert stop.value.code == 2
        assert re.search(message, capsys.readouterr().err)

    def test_a_typo_gets_the_nearest_key(self, root, tmp_path, capsys):
        command = arguments(root, "LMPT", tmp_path / "out", "TRAINER.LMPT.LAMDA", "0.1")
        self.fails_with(command, "TRAINER.LMPT.LAMDA.*Did you mean 'TRAINER.LMPT.LAMBDA'", capsys)

    def test_a_wrong_type_names_the_right_one(self, root, tmp_path, capsys):
        command = arguments(root, "LMPT", tmp_path / "out", "OPTIM.MAX_EPOCH", "many")
        self.fails_with(command, "OPTIM.MAX_EPOCH takes int such as 10, got 'many'", capsys)

    def test_a_half_pair_is_refused(self, root, tmp_path, capsys):
        self.fails_with(arguments(root, "LMPT", tmp_path / "out", "SEED"), "pairs", capsys)

    def test_a_missing_yaml_is_named(self, root, tmp_path, capsys):
        command = arguments(root, "LMPT", tmp_path / "out", "--config-file", "nowhere.yaml")
        self.fails_with(command, "nowhere.yaml", capsys)

    def test_a_typo_in_a_yaml_names_the_file(self, root, tmp_path, capsys):
        (tmp_path / "my.yaml").write_text("OPTIM:\n  MAX_EPOCHS: 3\n")
        command = arguments(
            root, "CoOp", tmp_path / "out", "--config-file", str(tmp_path / "my.yaml")
        )
        self.fails_with(command, "my.yaml.*MAX_EPOCHS.*Did you mean 'OPTIM.MAX_EPOCH'", capsys)

    def test_a_yaml_builds_on_others_and_has_the_last_word(self, tmp_path):
        (tmp_path / "first.yaml").write_text("OPTIM:\n  LR: 0.5\n  MAX_EPOCH: 3\n")
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "own.yaml").write_text("_BASE_: [../first.yaml]\nOPTIM:\n  LR: 0.25\n")
        command = ["--config-file", str(tmp_path / "sub" / "own.yaml")]
        cfg = train.build_cfg(train.build_parser().parse_args(command))
        assert cfg.OPTIM.LR == 0.25 and cfg.OPTIM.MAX_EPOCH == 3

    def test_the_type_of_a_free_key_is_not_that_of_an_earlier_file(self, tmp_path):
        (tmp_path / "my.yaml").write_text("TRAINER:\n  LMPT:\n    CSE:\n      GAMMA: 1\n")
        command = ["--config-file", str(tmp_path / "my.yaml"), "TRAINER.LMPT.CSE.GAMMA", "0.5"]
        cfg = train.build_cfg(train.build_parser().parse_intermixed_args(command))
        assert cfg.TRAINER.LMPT.CSE.GAMMA == 0.5

    def test_an_unknown_trainer_gets_the_nearest_name(self, root, tmp_path):
        with pytest.raises(ValueError, match="Did you mean 'LMPT'"):
            train.main(arguments(root, "LMTP", tmp_path / "out"))

    def test_values_take_the_type_of_their_key(self):
        cfg = train.build_cfg(
            train.build_parser().parse_intermixed_args(
                ["OPTIM.LR", "1", "DATASET.ROOT", "3", "OPTIM.STEPSIZE", "[3, 6]", "OPTIM.GAMMA"]
                + ["1e-1", "--seed", "0", "OPTIM.STAGED_LR", "True"]
            )
        )
        assert cfg.OPTIM.LR == 1.0 and isinstance(cfg.OPTIM.LR, float)
        assert cfg.DATASET.ROOT == "3" and cfg.OPTIM.STEPSIZE == (3, 6)
        assert cfg.OPTIM.GAMMA == 0.1 and cfg.SEED == 0 and cfg.OPTIM.STAGED_LR is True

    def test_seeds_count_and_zero_is_one(self, root, tmp_path):
        found = {}
        for seed in ("0", "1"):
            train.main(arguments(root, "CoOp", tmp_path / seed, "--seed", seed))
            found[seed] = contexts(tmp_path / seed)
            assert results(tmp_path / seed)["seed"] == int(seed)
        assert not torch.equal(found["0"], found["1"])

    def test_an_unseeded_run_draws_a_seed_and_keeps_it(self, root, tmp_path, monkeypatch):
        command = arguments(root, "CoOp", tmp_path / "out")
        at = command.index("--seed")
        del command[at : at + 2]
        with monkeypatch.context() as patch:
            interrupt_after(patch, 2)
            with pytest.raises(SystemExit):
                train.main(command)
        drawn = int(re.search(r"^Seed: (\d+)", (tmp_path / "out/log.txt").read_text(), re.M)[1])
        train.main(command)
        assert results(tmp_path / "out")["seed"] == drawn
        command[command.index(str(tmp_path / "out"))] = str(tmp_path / "eval")
        train.main([*command, "--eval-only", "--model-dir", str(tmp_path / "out")])
        assert results(tmp_path / "eval")["seed"] == drawn

    def test_another_experiment_does_not_continue_a_folder(self, root, tmp_path, capsys):
        train.main(arguments(root, "CoOp", tmp_path / "out"))
        command = arguments(root, "CoOp", tmp_path / "out", "OPTIM.LR", "0.5")
        self.fails_with(command, "OPTIM.LR: 0.02 there, 0.5 now", capsys)
        command = arguments(root, "CoOp", tmp_path / "out", "TEST.FINAL_MODEL", "best_test")
        self.fails_with(command, "TEST.FINAL_MODEL: 'last_step' there, 'best_test' now", capsys)
        train.main(arguments(root, "CoOp", tmp_path / "out", "TEST.SCORE", "softmax"))  # harmless

    def test_help_lists_what_is_registered(self, capsys):
        with pytest.raises(SystemExit):
            train.main(["--help"])
        text = capsys.readouterr().out
        for name in ("LMPT", "CoOp", "ZeroshotCLIP", "VOCLT", "ShapesLT", "ViT-B/16", "tiny"):
            assert re.search(rf"^  {re.escape(name)} +\S.+", text, re.MULTILINE), name
