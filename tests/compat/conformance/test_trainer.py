from __future__ import annotations

import math
import os
import re

import numpy as np
import pytest
import torch
from dassl.config import get_cfg_default
from dassl.engine import SimpleNet, TrainerBase, TrainerX
from dassl.modeling import BACKBONE_REGISTRY, HEAD_REGISTRY, Backbone
from dassl.utils import load_checkpoint
from torch import nn

from . import fixed_in_builtin
from .toy import IN_ORDER, toy_cfg, toy_trainer, weights

EPOCH_LINE = re.compile(
    r"epoch \[(\d+)/4\] batch \[(\d+)/2\] time \d+\.\d{3} \(\d+\.\d{3}\) "
    r"data \d+\.\d{3} \(\d+\.\d{3}\) loss \d+\.\d{4} \(\d+\.\d{4}\) lr (\d\.\d{4}e-\d\d) "
    r"eta \d+:\d\d:\d\d"
)


# A run


def test_log_and_files_of_a_run(tmp_path, capsys):
    trainer = toy_trainer(tmp_path, "TRAIN.CHECKPOINT_FREQ", 2)
    trainer.train()
    printed = capsys.readouterr().out
    lines = printed.splitlines()

    found = [match.groups() for match in map(EPOCH_LINE.fullmatch, lines) if match]
    assert [(int(epoch), int(batch)) for epoch, batch, _ in found] == [
        (epoch, batch) for epoch in range(1, 5) for batch in (1, 2)
    ]
    # The schedule moves on in the last batch, before the line is printed.
    assert [rate for *_, rate in found[:4]] == ["1.0000e-05", "2.0000e-02"] + [
        "2.0000e-02",
        "1.7071e-02",
    ]
    output = tmp_path / "output"
    folder = os.path.join(output, "linear")
    assert lines.count("Finish training") == 1
    order = [
        "No checkpoint found, train from scratch",
        f"Checkpoint saved to {os.path.join(folder, 'model.pth.tar-2')}",
        f"Checkpoint saved to {os.path.join(folder, 'model.pth.tar-4')}",
        "Finish training",
        "Deploy the last-epoch model",
        "Evaluate on the *test* set",
        "=> result",
    ]
    assert [line for line in lines if line in order] == order
    assert re.search(r"^\* accuracy: ([\.\deE+-]+)%$", printed, re.MULTILINE)
    assert re.search(r"^Elapsed: 0:00:\d\d$", printed, re.MULTILINE)

    assert sorted(os.listdir(folder)) == ["checkpoint", "model.pth.tar-2", "model.pth.tar-4"]
    assert any(name.startswith("events") for name in os.listdir(output / "tensorboard"))


def test_content_of_a_checkpoint(tmp_path):
    trainer = toy_trainer(tmp_path)
    trainer.train()
    path = tmp_path / "output" / "linear" / "model.pth.tar-4"
    saved = torch.load(path, weights_only=True)
    assert {"state_dict", "epoch", "optimizer", "scheduler", "val_result"} <= set(saved)
    assert (saved["epoch"], saved["val_result"]) == (4, None)
    assert list(saved["state_dict"]) == ["1.weight", "1.bias"]
    assert "param_groups" in saved["optimizer"]
    assert isinstance(saved["scheduler"]["successor"], dict)


def test_lines_are_printed_every_so_often_or_always_in_short_epochs(tmp_path, capsys):
    toy_trainer(tmp_path, "TRAIN.PRINT_FREQ", 2, "OPTIM.MAX_EPOCH", 1).train()
    assert re.findall(r"batch \[(\d)/2\]", capsys.readouterr().out) == ["2"]


def test_scalars_for_tensorboard(tmp_path):
    trainer = toy_trainer(tmp_path, "OPTIM.MAX_EPOCH", 2)
    written = []
    trainer.write_scalar = lambda *call: written.append(call)
    trainer.train()
    assert [call[2] for call in written if call[0] == "train/loss"] == [0, 1, 2, 3]
    assert [call[2] for call in written if call[0] == "train/lr"] == [0, 1, 2, 3]
    tests = [(tag, step) for tag, _, step in written if tag.startswith("test/")]
    assert tests == [("test/accuracy", 1), ("test/error_rate", 1), ("test/macro_f1", 1)]


def test_without_a_test_nothing_is_evaluated(tmp_path, capsys):
    toy_trainer(tmp_path, "TEST.NO_TEST", True, "OPTIM.MAX_EPOCH", 1).train()
    assert "=> result" not in capsys.readouterr().out


def test_training_learns(tmp_path):
    trainer = toy_trainer(tmp_path, "OPTIM.MAX_EPOCH", 10)
    trainer.train()
    assert trainer.test() == 100.0
    assert trainer.device == torch.device("cpu")


def test_the_last_smaller_batch_is_not_trained_on(tmp_path):
    trainer = toy_trainer(tmp_path, "DATALOADER.TRAIN_X.BATCH_SIZE", 5, *IN_ORDER)
    trainer.train()
    assert trainer.seen[:2] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert len(trainer.seen) == 8


@pytest.mark.parametrize(("count", "steps"), [("train_x", 2), ("train_u", 1), ("smaller_one", 1)])
def test_unlabelled_batches_beside_labelled(tmp_path, count, steps):
    options = ["TRAINER.NAME", "ConformanceLinearXU", "TRAIN.COUNT_ITER", count]
    options += ["DATASET.SOURCE_DOMAINS", ("unlabelled",), "OPTIM.MAX_EPOCH", 1]
    trainer = toy_trainer(tmp_path, *options, *IN_ORDER)
    trainer.train()
    assert trainer.seen == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]][:steps]
    assert trainer.unlabelled == [[0, 1, 2, 3, 4]] * steps  # the shorter loader starts over


def test_unknown_count(tmp_path):
    options = ["TRAINER.NAME", "ConformanceLinearXU", "TRAIN.COUNT_ITER", "longest"]
    trainer = toy_trainer(tmp_path, *options, "DATASET.SOURCE_DOMAINS", ("unlabelled",))
    with pytest.raises(ValueError):
        trainer.run_epoch()


# Evaluation


def test_splits_and_first_value(tmp_path, capsys):
    trainer = toy_trainer(tmp_path)
    first = trainer.test()
    assert first == trainer.evaluator.evaluate()["accuracy"]
    assert "Evaluate on the *test* set\n" in capsys.readouterr().out
    trainer.test(split="val")
    printed = capsys.readouterr().out
    assert "Evaluate on the *val* set\n" in printed and "* total: 6\n" in printed
    trainer.val_loader = None
    trainer.test(split="val")
    assert "Evaluate on the *test* set\n" in capsys.readouterr().out
    assert not trainer.model.training


def test_evaluation_only(tmp_path, capsys):
    trained = toy_trainer(tmp_path)
    trained.train()
    fresh = toy_trainer(tmp_path, seed=2)
    fresh.load_model("")
    assert not torch.equal(weights(fresh)[0], weights(trained)[0])
    with pytest.raises(FileNotFoundError, match=r"No model at .*linear.model\.pth\.tar-9"):
        fresh.load_model(str(tmp_path / "output"), epoch=9)
    with pytest.raises(FileNotFoundError, match=r"No model at .*model-best\.pth\.tar"):
        fresh.load_model(str(tmp_path / "output"))


@fixed_in_builtin("formats val_result, which is None for a checkpoint of an epoch")
def test_evaluation_only_of_an_epoch(tmp_path, capsys):
    trained = toy_trainer(tmp_path)
    trained.train()
    fresh = toy_trainer(tmp_path, seed=2)
    fresh.load_model(str(tmp_path / "output"), epoch=4)
    assert torch.equal(weights(fresh)[0], weights(trained)[0])
    assert fresh.test() == trained.test()
    assert "to linear (epoch=4, val_result=None)\n" in capsys.readouterr().out


def test_the_best_model_is_kept_and_deployed(tmp_path, capsys):
    trainer = toy_trainer(tmp_path, "TEST.FINAL_MODEL", "best_val")
    results = iter([40.0, 60.0, 60.0, 50.0, 77.0])
    kept = []
    trainer.test = lambda split=None: kept.append(weights(trainer)[0]) or next(results)
    trainer.train()
    folder = tmp_path / "output" / "linear"
    best = load_checkpoint(str(folder / "model-best.pth.tar"))
    assert (best["epoch"], best["val_result"]) == (2, 60.0)  # strictly greater only
    assert torch.equal(best["state_dict"]["1.weight"], kept[1])
    assert torch.equal(weights(trainer)[0], kept[1])
    assert (folder / "checkpoint").read_text() == "model.pth.tar-4\n"
    printed = capsys.readouterr().out
    assert "Deploy the model with the best val performance\n" in printed
    assert "to linear (epoch=2, val_result=60.0)\n" in printed


def test_numpy_results_do_not_spoil_the_file(tmp_path, request):
    request.applymarker(fixed_in_builtin("stores val_result as numpy gives it"))
    trainer = toy_trainer(tmp_path)
    trainer.save_model(0, str(tmp_path), val_result=np.float64(50.0))
    saved = torch.load(tmp_path / "linear" / "model.pth.tar-1", weights_only=True)
    assert saved["val_result"] == 50.0


# Registered models


def test_registering_models():
    trainer = TrainerBase()
    first, second = nn.Linear(1, 1), nn.BatchNorm1d(1)
    trainer.register_model("first", first)
    trainer.register_model("second", second)
    assert trainer.get_model_names() == ["first", "second"]
    assert trainer.get_model_names("second") == ["second"]
    with pytest.raises((AssertionError, ValueError)):
        trainer.get_model_names("third")
    with pytest.raises((AssertionError, ValueError), match="Found duplicate model names"):
        trainer.register_model("first", first)
    trainer.set_model_mode("eval", "second")
    assert (first.training, second.training) == (True, False)
    trainer.set_model_mode("train")
    assert second.training
    with pytest.raises(KeyError):
        trainer.set_model_mode("sleep")


def test_registering_needs_the_constructor():
    class Hasty(TrainerBase):
        def __init__(self):
            self.register_model()

    with pytest.raises(AttributeError, match="before super"):
        Hasty()


def test_an_update_and_a_loss_that_is_not_finite():
    trainer = TrainerBase()
    model = nn.Linear(1, 1)
    trainer.register_model("model", model, torch.optim.SGD(model.parameters(), lr=0.5))
    before = model.bias.item()
    trainer.model_backward_and_update(model(torch.ones(1)).sum())
    trainer.model_backward_and_update(model(torch.ones(1)).sum())  # gradients are cleared
    assert model.bias.item() == pytest.approx(before - 1.0)
    with pytest.raises(FloatingPointError, match="Loss is infinite or NaN!"):
        trainer.model_backward_and_update(torch.tensor(math.nan))


@BACKBONE_REGISTRY.register()
class ConformanceBackbone(Backbone):
    def __init__(self, pretrained):
        super().__init__()
        self._out_features = 6

    def forward(self, x):
        return x.flatten(1)[:, :6]


@HEAD_REGISTRY.register()
def conformance_head(in_features, hidden_layers, **kwargs):
    head = nn.Linear(in_features, hidden_layers[-1])
    head.out_features = hidden_layers[-1]
    return head


def test_the_default_network():
    cfg = get_cfg_default()
    cfg.MODEL.BACKBONE.NAME = "ConformanceBackbone"
    images = torch.randn(2, 3, 4, 4)
    logits, features = SimpleNet(cfg, cfg.MODEL, 5)(images, return_feature=True)
    assert (logits.shape, features.shape) == ((2, 5), (2, 6))
    assert SimpleNet(cfg, cfg.MODEL, 0)(images).shape == (2, 6)
    cfg.MODEL.HEAD.update(NAME="conformance_head", HIDDEN_LAYERS=(7,))
    net = SimpleNet(cfg, cfg.MODEL, 5)
    assert (net(images).shape, net.fdim) == ((2, 5), 7)


def default_trainer(tmp_path, *options):
    cfg = toy_cfg(tmp_path, "MODEL.BACKBONE.NAME", "ConformanceBackbone", *options)
    return TrainerX(cfg)


def test_the_default_model_is_registered_and_starts_from_given_weights(tmp_path, capsys):
    first = default_trainer(tmp_path)
    assert first.get_model_names() == ["model"]
    assert "# params: 21\n" in capsys.readouterr().out
    first.save_model(0, str(tmp_path))
    path = str(tmp_path / "model" / "model.pth.tar-1")
    second = default_trainer(tmp_path, "MODEL.INIT_WEIGHTS", path)
    assert torch.equal(second.model.classifier.weight, first.model.classifier.weight)


@fixed_in_builtin("counts the GPUs even if none shall be used")
def test_data_parallel_only_where_gpus_are_used(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert isinstance(default_trainer(tmp_path).model, SimpleNet)
