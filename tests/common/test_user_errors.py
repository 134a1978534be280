"""Users' mistakes: one line that says what to do, exit status 2, and no log left behind."""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
import sys

import pytest
import torch
from dassl.engine import TRAINER_REGISTRY

import train
from common.plugins import import_modules
from common.user_errors import CommandParser, is_mistake, message_of, run_command
from modeling.prompts.prompt_model import PromptModel
from tests.helpers.project_copy import copy_project
from tests.helpers.sets.small_set import arguments, write_set
from trainers.base import PromptTrainer, method_node


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    write_set(root)
    return root


@pytest.fixture
def refusal(root, tmp_path, capsys):
    """Run a command with more words, or with others; give the line in which it ends."""

    def refused(*more, trainer="LMPT", words=None):
        if words is None:
            words = arguments(root, trainer, tmp_path / "out", *more)
        with pytest.raises(SystemExit) as stop:
            run_command(lambda: train.main(words))
        assert stop.value.code == 2
        text = capsys.readouterr().err
        assert text.count("\n") == 1 and text.endswith("\n"), text
        assert not list((tmp_path / "out").glob("log*"))
        return text

    return refused


NAMES = {  # words that take the place of others, and what is said
    "method": (["--trainer", "LMTP"], r"TRAINER.NAME must be one of .*, got 'LMTP'.*'LMPT'\?"),
    "data set": (["DATASET.NAME", "ListTL"], r"DATASET.NAME must be one of .*'ListLT'\?"),
    "evaluator": (["TEST.EVALUATOR", "MultiLabel"], "TEST.EVALUATOR must be one of"),
    "key": (["TRAINER.LMPT.LAMDA", "1"], "command line: .*LAMDA'. Did you mean .*LMPT.LAMBDA'"),
    "key in lower case": (["optim.lr", "1"], "Did you mean 'OPTIM.LR'"),
    "=": (["OPTIM.LR=0.1"], "OPTIM.LR=0.1: key and value are two words. Write: OPTIM.LR 0.1"),
    "half a pair": (["SEED"], "pairs KEY VALUE"),
    "type": (["OPTIM.MAX_EPOCH", "ten"], "OPTIM.MAX_EPOCH takes int such as 10, got 'ten'"),
    "nesting": (["OPTIM.MAX_EPOCH", "(" * 9000], "OPTIM.MAX_EPOCH takes int"),
    "flag": (["--trainr", "LMPT"], "unrecognized arguments: --trainr"),
    "seed": (["--seed", "one"], "--seed: invalid int value: 'one'"),
    "negative seed": (["--seed", "-1"], "--seed must be 0 or more, got -1. Without it one is"),
    "no epoch": (["--load-epoch", "0"], "--load-epoch counts epochs done and is 1 or more, got 0"),
    "epoch of nothing": (["--load-epoch", "1"], "--eval-only --model-dir DIR evaluates; add both"),
    "rate": (["OPTIM.LR", "1e999"], "OPTIM.LR must be 0 or more, got inf. Numbers must be finite"),
    "size": (["INPUT.SIZE", "96"], r"INPUT.SIZE must be 2 values.*Did you mean \(96, 96\)\?"),
    "schedule": (["OPTIM.LR_SCHEDULER", "plateu"], r"cosine, plateau, got .* 'plateau'\?"),
    "nesterov": (
        ["OPTIM.SGD_NESTEROV", "True", "OPTIM.MOMENTUM", "0"],
        "OPTIM.SGD_NESTEROV needs OPTIM.MOMENTUM above 0 and OPTIM.SGD_DAMPNING 0, got 0.0 and 0.",
    ),
    "scale in words": (
        ["TRAINER.LMPT.LOGIT_SCALE", "learnt:20"],
        "Write: TRAINER.LMPT.LOGIT_SCALE 20 TRAINER.LMPT.LOGIT_SCALE_LEARNABLE True",
    ),
    "yaml": (["--config-file", "nowhere.yaml"], "No config file nowhere.yaml"),
    "python": (["--config-file", "train.py"], "train.py must end in .yaml"),
    "weights": (["MODEL.BACKBONE.NAME", "ViT-B16"], r"MODEL.BACKBONE.NAME .*'ViT-B/16'\?"),
}


@pytest.mark.parametrize("more, message", NAMES.values(), ids=NAMES)
def test_a_mistake_ends_in_one_line_and_leaves_no_log(more, message, refusal):
    assert re.search(message, refusal(*more))


def test_what_takes_several_lines_is_still_no_traceback(root, tmp_path, capsys):
    words = arguments(root, "LMPT", tmp_path / "out", "--root", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit) as stop:
        run_command(lambda: train.main(words))
    text = capsys.readouterr().err
    assert stop.value.code == 2 and "error: ListLT: train.txt" in text and "--root" in text
    assert "Traceback" not in text and not list((tmp_path / "out").glob("log*"))


def test_a_list_parted_by_commas(root, tmp_path, capsys):
    shutil.copytree(root / "mine", tmp_path / "set" / "mine")
    listed = tmp_path / "set" / "mine" / "train.txt"
    listed.write_text(listed.read_text().replace(" ", ","))
    words = arguments(tmp_path / "set", "LMPT", tmp_path / "out")
    with pytest.raises(SystemExit) as stop:
        run_command(lambda: train.main(words))
    text = capsys.readouterr().err
    assert stop.value.code == 2 and "Traceback" not in text and "absent" not in text
    assert f"error: {listed}: 21 problems" in text
    assert "line 1: 'pictures/train0.png,0" in text and "parted by blanks" in text


def test_a_full_disk(root, tmp_path, capsys, monkeypatch):
    def full(state, path):
        raise RuntimeError("[enforce fail at inline_container.cc:626] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(SystemExit) as stop:
        run_command(lambda: train.main(arguments(root, "LMPT", tmp_path / "out")))
    text = capsys.readouterr().err
    assert stop.value.code == 2 and text.strip().count("error: ") == 1
    name = tmp_path / "out" / "prompt_learner" / "model.pth.tar-1"
    assert f"error: {name} cannot be written" in text and "MiB are free there" in text
    assert "make room, and the same command goes on" in text


def test_nothing_given(refusal):
    assert "No method given. Add: --trainer NAME" in refusal(words=[])
    line = refusal(words=["--trainer", "LMPT"])
    assert "No data set given. Add: --dataset-config-file configs/datasets/NAME.yaml" in line


def test_keys_of_a_method_that_does_not_run(refusal, tmp_path):
    line = refusal("TRAINER.COOP.N_CTX", "4")
    assert "TRAINER.COOP.N_CTX does nothing, for LMPT runs" in line
    assert "Did you mean 'TRAINER.LMPT.N_CTX'?" in line
    assert "'TRAINER.COOP.N_CTX'?" in refusal("TRAINER.DUALCOOP.N_CTX", "4", trainer="CoOp")
    (tmp_path / "my.yaml").write_text("TRAINER:\n  LMPT:\n    LAMBDA: 0.1\n")
    line = refusal("--config-file", str(tmp_path / "my.yaml"), trainer="CoOp")
    assert "my.yaml: TRAINER.LMPT.LAMBDA does nothing" in line


def test_a_whole_config_sets_the_keys_of_all_methods(root, tmp_path):
    def cfg_of(*more):
        words = arguments(root, "LMPT", tmp_path / "out", "TRAINER.LMPT.LAMBDA", "0.1", *more)
        return train.build_cfg(train.build_parser().parse_intermixed_args(words))

    (tmp_path / "config.yaml").write_text(cfg_of().dump())
    assert cfg_of("--config-file", str(tmp_path / "config.yaml")) == cfg_of()


def test_names_in_any_case(root, tmp_path):
    words = arguments(root, "lmpt", tmp_path / "out", "DATASET.NAME", "listlt")
    cfg = train.build_cfg(train.build_parser().parse_intermixed_args(words))
    assert (cfg.TRAINER.NAME, cfg.DATASET.NAME) == ("LMPT", "ListLT")


@pytest.fixture
def method():
    """Register a method for one test."""
    added = []

    def add(cls):
        TRAINER_REGISTRY.register(cls)
        added.append(cls.__name__)
        return cls.__name__

    yield add
    objects = getattr(TRAINER_REGISTRY, "_objects", None) or TRAINER_REGISTRY._obj_map
    for name in added:
        del objects[name]


def test_a_method_without_keys(refusal, method):
    name = method(type("Wrong", (PromptTrainer,), {}))
    line = refusal(trainer=name)
    assert "Wrong has no keys: add to its file a function extend_cfg(cfg)" in line


@pytest.mark.parametrize(
    "returned, got",
    [
        (lambda loss: loss, r"got <class 'torch.Tensor'>"),
        (lambda loss: {"cls": loss}, "got a dict of cls"),
        (lambda loss: {}, "got a dict of nothing"),
    ],
)
def test_a_loss_that_is_no_dict_of_terms(returned, got, root, tmp_path, method, monkeypatch):
    def loss(self, logits, targets, batch):
        return returned(self.criterion(logits, targets))

    model = type("LossyModel", (PromptModel,), {"loss": loss})
    name = method(type("Lossy", (PromptTrainer,), {"model_class": model}))
    monkeypatch.setattr(
        "trainers.coop.extend_cfg",
        lambda cfg: cfg.TRAINER.update(COOP=method_node(PromptModel), LOSSY=method_node(model)),
    )
    with pytest.raises(ValueError, match=f'LossyModel.loss must return .*"loss" is.*{got}'):
        train.main(arguments(root, name, tmp_path / "out"))


class TestWhatIsAMistake:
    def ended(self, error, capsys):
        def main():
            raise error

        with pytest.raises(SystemExit) as stop:
            run_command(main)
        assert stop.value.code == 2
        return capsys.readouterr().err.partition("error: ")[2]

    def test_the_systems_errors_name_file_and_reason(self, capsys):
        full = OSError(errno.ENOSPC, "No space left on device", "out/log.txt")
        assert self.ended(full, capsys) == "out/log.txt: No space left on device.\n"
        assert self.ended(FloatingPointError("loss is nan"), capsys) == "loss is nan\n"
        assert self.ended(OSError("of our own words"), capsys) == "of our own words\n"
        assert message_of(ValueError()) == "ValueError"

    @pytest.mark.parametrize(
        "broken",
        [
            lambda: torch.ones(2).view(3),
            lambda: torch.distributions.Normal(0, -torch.ones(1), validate_args=True),
            lambda: {}["WRONG"],
            lambda: None.x,
            lambda: __import__("no_such_module_anywhere"),
        ],
    )
    def test_defects_keep_their_traceback(self, broken):
        with pytest.raises(Exception) as error:  # noqa: PT011 - several types
            run_command(broken)
        assert not isinstance(error.value, SystemExit) and not is_mistake(error.value)

    def test_a_traceback_on_request(self, capsys, monkeypatch):
        monkeypatch.setenv("LMPT_TRACEBACK", "1")

        def main():
            raise ValueError("told")

        with pytest.raises(ValueError, match="told"):
            run_command(main)

    @pytest.mark.parametrize("status", [None, 0, 1])
    def test_the_status_is_the_commands(self, status):
        with pytest.raises(SystemExit) as stop:
            run_command(lambda: status)
        assert stop.value.code == status

    def test_usage_is_not_printed(self, capsys):
        with pytest.raises(SystemExit) as stop:
            CommandParser(prog="x.py").parse_args(["--y"])
        text = capsys.readouterr().err
        assert stop.value.code == 2
        assert text == "x.py: error: unrecognized arguments: --y (see --help)\n"


class TestBrokenFiles:
    FILES = {
        "a_good": "VALUE = 1\n",
        "b_syntax": "class Tuned:\n    def f(self:\n",
        "c_import": "import os\nimport no_such_module_anywhere\n",
        "d_exit": "import sys\nsys.exit(3)\n",
        "e_twice": "raise KeyError('An object named \"CoOp\" was already registered in X')\n",
        "f_good": "VALUE = 2\n",
    }

    def test_they_are_named_once_and_skipped(self, tmp_path, monkeypatch, capsys):
        package = tmp_path / "some_plugins"
        package.mkdir()
        for name, text in self.FILES.items():
            (package / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        modules, broken = import_modules("some_plugins", [str(package)])
        assert [module.VALUE for module in modules] == [1, 2]
        told = [str(module) for module in broken]
        assert re.match(r"some_plugins/b_syntax.py \(line 2: .*\)", told[0])
        assert told[1].startswith("some_plugins/c_import.py (line 2: ModuleNotFoundError: No mod")
        assert told[2] == "some_plugins/d_exit.py (line 2: SystemExit: 3)"
        assert "rename its class, or remove the other file" in told[3]
        assert [module.holds("Tuned") for module in broken] == [True, False, False, False]
        assert capsys.readouterr().err.splitlines() == [f"Skipped {line}" for line in told]
        import_modules("some_plugins", [str(package)])
        assert capsys.readouterr().err == ""

    def test_the_others_run_and_only_asking_for_it_is_an_error(self, tmp_path):
        project = copy_project(tmp_path / "project")
        (project / "trainers" / "mine.py").write_text("class Mine(:\n    pass\n")
        code = (
            "import train\n"
            "def cfg(*words):\n"
            "    return train.build_cfg(train.build_parser().parse_intermixed_args(words))\n"
            "print(cfg('--trainer', 'coop').TRAINER.NAME)\n"
            "for name in ('Mine', 'Yours'):\n"
            "    try:\n"
            "        cfg('--trainer', name)\n"
            "    except ValueError as error:\n"
            "        print(error)\n"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
        assert re.fullmatch(r"Skipped trainers/mine.py \(line 1: .*\)\n", done.stderr)
        ours, mine, yours = done.stdout.splitlines()
        assert ours == "CoOp"
        assert mine.startswith("TRAINER.NAME Mine cannot be used, as its file is broken: trainers/")
        assert "TRAINER.NAME is 'Yours'" in yours and "trainers/mine.py (line 1" in yours
