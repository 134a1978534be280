from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from evaluation import recipe_choice
from evaluation.evaluator import MultiLabelLongTail, extend_cfg
from evaluation.results.run_report import RunReport
from evaluation.results.saved_scores import load_scores

from dassl.config import get_cfg_default  # isort: skip - evaluation makes dassl importable


@pytest.fixture
def report(tmp_path):
    """Build the report of an evaluation of six images, of a test split of so many."""

    def build(images=6, **settings):
        cfg = get_cfg_default()
        extend_cfg(cfg)
        recipe_choice.extend_cfg(cfg)
        cfg.OUTPUT_DIR = str(tmp_path)
        for key, value in settings.items():
            cfg.TEST[key] = value
        evaluator = MultiLabelLongTail(cfg, lab2cname={0: "cat", 1: "dog"})
        splits = {"train_x": [], "val": []}
        items = [SimpleNamespace(impath=f"{i}.jpg") for i in range(images)]
        built = RunReport(cfg, evaluator, SimpleNamespace(test=items, **splits))
        logits = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
        evaluator.process(logits, torch.eye(2).repeat(3, 1))
        evaluator.evaluate()
        return built, logits

    return build


def test_scores_are_those_that_were_ranked(report, tmp_path):
    built, logits = report()
    built.write("test", 1, "last_step", evaluation=False)
    saved = load_scores(tmp_path / "scores.npz")
    assert torch.equal(saved.logits, logits) and saved.paths == [f"{i}.jpg" for i in range(6)]
    assert (tmp_path / "results.json").is_file()


def test_no_scores_where_none_are_wanted_or_images_are_not_the_splits(report, tmp_path, capsys):
    for settings in ({"SAVE_SCORES": "off"}, {"images": 5}):
        built, _ = report(**settings)
        built.write("test", 1, "last_step", evaluation=False)
        assert {path.name for path in tmp_path.iterdir()} == {"results.json"}
    assert "Scores are not saved: 6 were ranked of 5 images." in capsys.readouterr().out
