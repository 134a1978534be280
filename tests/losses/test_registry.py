"""The registry of ``losses/__init__.py``: names, options and bound counts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from yacs.config import CfgNode

import losses
import losses.config
import train
from common.config.config_rules import Number, rule_of
from common.plugins import BrokenModule, import_modules
from losses import LOSSES, build_loss, loss_options, register_loss
from losses.registry import DEFAULTS, NODES, forget_losses
from tests.helpers.naive import naive_losses as naive
from tests.helpers.project_copy import ROOT, copy_project
from tests.helpers.sets.small_set import arguments, results, write_set

NUM_TRAIN = 120
DB = {"mu": 0.2, "neg_scale": 2.0}
CB = {"beta": 0.8, "mode": "min_n"}


def db(scale=1.0, **parts):
    def entries(z, y, n):
        return [scale * e for e in naive.distribution_balanced(z, y, n, NUM_TRAIN, **DB, **parts)]

    return DB, entries


def cb(ntr=None):
    return CB, lambda z, y, n: [10 * e for e in naive.class_balanced(z, y, n, **CB, ntr=ntr)]


TWINS = {  # options, and the slow twin's entries of logits, targets and counts
    "asl": ({}, lambda z, y, n: naive.asymmetric(z, y, 4.0, 0.0, 0.05, True)),
    "balanced_asl": (
        {"power": 0.7},
        lambda z, y, n: naive.balanced_asymmetric(z, y, n, 0.7, 0.1, 9.8, 0.0, 0.05),
    ),
    "bce": ({}, lambda z, y, n: naive.bce(z, y)),
    "focal": ({}, lambda z, y, n: naive.focal(z, y)),
    "db": db(),
    "db_no_focal": db(0.5, focal_part=False),
    "r_bce_focal": db(negative_tolerant=False, balance=0.5),
    "ntr_focal": db(rebalance=False, balance=0.5),
    "cb_focal": cb(),
    "cb_ntr": cb((NUM_TRAIN, 2.0, 0.05)),
    "ranking": ({"margin": 2.0}, lambda z, y, n: naive.ranking(z, y, 2.0)),
    "softmax_ce": ({}, lambda z, y, n: naive.softmax(z, y)),
}


def test_public_names():
    for name in losses.__all__:
        assert hasattr(losses, name)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_equals_its_slow_twin(name):
    assert name in TWINS, f"give {name} a slow twin here, and one in naive_losses.py"
    options, entries = TWINS[name]
    logits, targets, counts = naive.random_case(1)
    actual = build_loss(name, counts, NUM_TRAIN, **options)(logits, targets)
    expected = naive.reduced(entries(logits, targets, counts), "mean")
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)
    gradients = (torch.autograd.grad(loss, logits)[0] for loss in (actual, expected))
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_every_advertised_option_binds(name):
    logits, targets, counts = naive.random_case(4)
    values = {"variant": "paper", "mode": "min_n", "detach_focal": False, "reduction": "sum"}
    for option in loss_options(name):
        if option in ("focal", "rebalance", "negative_tolerant"):
            value = False
        else:
            value = values.get(option, 0.4)
        changed = build_loss(name, counts, NUM_TRAIN, **{option: value})
        assert torch.isfinite(changed(logits, targets))


def test_counts_may_be_list_array_or_tensor():
    logits, targets, counts = naive.random_case(5)
    expected = build_loss("db", counts, NUM_TRAIN)(logits, targets)
    for same in (torch.tensor(counts), torch.tensor(counts).numpy(), tuple(counts)):
        assert build_loss("db", same, NUM_TRAIN)(logits, targets) == expected


def test_errors_name_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'db_no_focal'"):
        build_loss("db_nofocal", [1, 2], 5)
    with pytest.raises(ValueError, match="has no option 'neg_scal'.*Did you mean 'neg_scale'"):
        build_loss("db", [1, 2], 5, neg_scal=2.0)
    with pytest.raises(ValueError, match="'db_no_focal' has no option 'focal'"):
        build_loss("db_no_focal", [1, 2], 5, focal=True)
    with pytest.raises(ValueError, match="pass the number of training images"):
        build_loss("db", [1, 20], 18)


class TestOwnLoss:
    """A file of one's own, as docs/plugins.md has it."""

    EXAMPLE = next(
        block
        for block in re.findall(
            r"```python\n(.*?)```",
            (ROOT / "docs/plugins.md").read_text(encoding="utf-8"),
            re.DOTALL,
        )
        if "register_loss" in block
    )

    def test_found_configured_and_trained_with(self, tmp_path):
        project = copy_project(tmp_path / "project")
        (project / "losses/smooth.py").write_text(self.EXAMPLE)
        (project / "losses/worse.py").write_text("from losses import registre_loss\n")
        write_set(tmp_path / "data")
        more = ("TRAINER.LOSS.NAME", "smooth", "TRAINER.LOSS.SMOOTH.SMOOTHING", "0.25")
        command = arguments(tmp_path / "data", "CoOp", tmp_path / "out", *more)
        command = [sys.executable, "train.py", *command]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "Skipped losses/worse.py (line 1: ImportError: cannot import" in done.stderr
        found = results(tmp_path / "out")
        assert found["epoch"] == 4
        assert "SMOOTHING: 0.25" in (tmp_path / "out/config.yaml").read_text()

    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        """A folder on the package's path, whose losses are forgotten after the test."""
        monkeypatch.setattr(losses, "__path__", [*losses.__path__, str(tmp_path)])
        yield tmp_path
        for path in tmp_path.glob("*.py"):
            forget_losses(f"losses.{path.stem}")
            sys.modules.pop(f"losses.{path.stem}", None)

    def find(self, folder: Path, name: str, text: str) -> list[BrokenModule]:
        (folder / f"{name}.py").write_text(text)
        return import_modules("losses", [str(folder)])[1]

    def test_its_options_reach_it(self, folder):
        assert not self.find(folder, "smooth", self.EXAMPLE)
        words = ["TRAINER.LOSS.NAME", "smooth", "TRAINER.LOSS.SMOOTH.SMOOTHING", "0.25"]
        cfg = train.build_cfg(train.build_parser().parse_args(words))
        logits, targets, _ = naive.random_case(7, unknown=False)
        loss = losses.config.loss_from_config(cfg.TRAINER.LOSS, torch.ones(6), 10)
        expected = F.binary_cross_entropy_with_logits(logits, 0.125 + 0.75 * targets.double())
        torch.testing.assert_close(loss(logits, targets), expected)
        words[-1] = "1"
        with pytest.raises(ValueError, match=r"LOSS.SMOOTH.SMOOTHING must be in \[0, 1\), got 1"):
            train.build_cfg(train.build_parser().parse_args(words))
        with pytest.raises(ValueError, match="Did you mean 'smooth'"):
            build_loss("smoth", [1, 2], 5)

    def test_a_name_of_a_broken_file_names_the_file(self, folder, monkeypatch):
        broken = self.find(folder, "late", self.EXAMPLE + "\nraise RuntimeError('too late')\n")
        assert "smooth" in LOSSES and "line 19: RuntimeError: too late" in str(broken[0])
        forget_losses("losses.late")  # as the package does with what is broken
        assert "smooth" not in LOSSES and "SMOOTH" not in DEFAULTS and "smooth" not in NODES
        assert rule_of("TRAINER.LOSS.SMOOTH.SMOOTHING") is None
        monkeypatch.setattr(losses, "BROKEN", broken)
        words = ["TRAINER.LOSS.NAME", "smooth"]
        message = r"one of .*, got 'smooth'. Broken files register nothing: .*late.py \(line 19"
        with pytest.raises(ValueError, match=message):
            train.build_cfg(train.build_parser().parse_args(words))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                ('"smooth"', '"bce"'),
                "loss name 'bce' is taken by losses.focal.binary_cross_entropy",
            ),
            (('"smooth",', '"smooth", node="DB",'), "node DB is taken by losses.distribution_bal"),
            (('"smooth"', '"name"'), "pass another node"),
            (('{"SMOOTHING"', '{"SMOTHING"'), "no argument 'smothing'.*Did you mean 'smoothing'"),
            (('"smooth"', '{"smooth": {"epsilon": 1}}'), "no argument 'epsilon' with a default"),
            ((" = 0.1", ""), "argument 'smoothing' of smooth_loss needs a default"),
            (("= 0.1", "= 2.0"), r"default of SMOOTHING must be in \[0, 1\), got 2.0"),
        ],
    )
    def test_what_cannot_be_registered_is_told(self, change, message, folder):
        assert change[0] in self.EXAMPLE
        before = dict(LOSSES)
        (broken,) = self.find(folder, "wrong", self.EXAMPLE.replace(*change))
        assert re.search(r"line \d+: ValueError: .*" + message, str(broken))
        assert before == LOSSES and "SMOOTH" not in DEFAULTS

    def test_one_function_may_have_several_names(self, folder):
        """Each fixes arguments of its own; they share a node; and a file may be loaded again."""
        names = '{"smooth": {}, "smoothest": {"smoothing": 0.9}}'
        text = self.EXAMPLE.replace('"smooth"', names)
        for _ in range(2):
            assert not self.find(folder, "smooth", text)
            sys.modules.pop("losses.smooth")
        assert NODES["smooth"] == NODES["smoothest"] == "SMOOTH"
        assert LOSSES["smoothest"].keywords == {"smoothing": 0.9}
        cfg = CfgNode({"TRAINER": {}})
        losses.config.extend_cfg(cfg)
        assert cfg.TRAINER.LOSS.SMOOTH == {"SMOOTHING": 0.1}

    def test_an_option_without_a_rule_and_a_loss_without_options(self):
        @register_loss("plain_of_test")
        @register_loss("free_of_test", options={"WIDE": None, "SIZE": Number(above=0)})
        def function(logits, targets, wide=True, size=2):
            return logits.mean()

        assert DEFAULTS["FREE_OF_TEST"] == {"WIDE": True, "SIZE": 2}
        assert "plain_of_test" not in NODES
        assert loss_options("plain_of_test") == ["wide", "size"]
        forget_losses(__name__)
        assert not {"plain_of_test", "free_of_test"} & set(LOSSES)
