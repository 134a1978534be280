from __future__ import annotations

import os
import pickle
import warnings
from collections import Counter, OrderedDict, defaultdict

import dassl.engine.trainer
import dassl.utils
import dassl.utils.torchtools
import numpy as np
import pytest
import torch
from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler
from dassl.utils import (
    load_checkpoint,
    load_pretrained_weights,
    resume_from_checkpoint,
    save_checkpoint,
)
from torch import nn


def state(epoch=3, model=None):
    model = model or nn.Linear(2, 2)
    return {"state_dict": model.state_dict(), "epoch": epoch, "val_result": None}


class Malice:
    """Pickles to a call of os.mkdir."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


class Stranger(dict):
    """An object of a class of somebody's code, with attributes and items."""


# Writing


def test_layout_of_the_files(tmp_path, capsys):
    save_checkpoint(state(), str(tmp_path / "model"))
    assert sorted(os.listdir(tmp_path / "model")) == ["checkpoint", "model.pth.tar-3"]
    assert (tmp_path / "model" / "checkpoint").read_text() == "model.pth.tar-3\n"
    path = os.path.join(tmp_path, "model", "model.pth.tar-3")
    assert capsys.readouterr().out == f"Checkpoint saved to {path}\n"


def test_names_of_the_files(tmp_path):
    folder = str(tmp_path)
    save_checkpoint(state(), folder, model_name="model-best.pth.tar")
    assert (tmp_path / "checkpoint").read_text() == "model-best.pth.tar\n"
    save_checkpoint(state(5), folder, is_best=True)
    assert (tmp_path / "checkpoint").read_text() == "model.pth.tar-5\n"
    assert load_checkpoint(str(tmp_path / "model-best.pth.tar"))["epoch"] == 5


def test_the_prefix_of_data_parallel_is_removed(tmp_path):
    model = nn.DataParallel(nn.Linear(2, 2))
    save_checkpoint(state(model=model), str(tmp_path))
    saved = load_checkpoint(str(tmp_path / "model.pth.tar-3"))["state_dict"]
    assert list(saved) == ["weight", "bias"]
    save_checkpoint(state(4, model), str(tmp_path), remove_module_from_keys=False)
    saved = load_checkpoint(str(tmp_path / "model.pth.tar-4"))["state_dict"]
    assert list(saved) == ["module.weight", "module.bias"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    save_checkpoint(state(), str(tmp_path))
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        save_checkpoint({**state(), "bad": lambda: None}, str(tmp_path))
    assert load_checkpoint(str(tmp_path / "model.pth.tar-3"))["epoch"] == 3
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "model.pth.tar-3"]


# Reading


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="File is not found at"):
        load_checkpoint(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="File path is None"):
        load_checkpoint(None)


def test_a_malicious_file_does_not_run(tmp_path):
    marker = tmp_path / "pwned"
    path = str(tmp_path / "model.pth.tar-3")
    torch.save({**state(), "scheduler": Malice(marker)}, path)

    checkpoint = load_checkpoint(path)
    assert not marker.exists()
    assert checkpoint["epoch"] == 3
    assert checkpoint["state_dict"]["weight"].shape == (2, 2)

    torch.load(path, weights_only=False)  # the file is as bad as it claims
    assert marker.exists()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("call", [b"cos\nmkdir\n", b"cbuiltins\neval\n", b"c__builtin__\nexec\n"])
def test_malice_in_the_older_file_format_does_not_run(tmp_path, monkeypatch, call, protocol):
    monkeypatch.chdir(tmp_path)
    torch.save(state(), "good", _use_new_zipfile_serialization=False, pickle_protocol=protocol)
    argument = b"pwned" if call.endswith(b"mkdir\n") else b"__import__('os').mkdir('pwned')"
    bomb = call + b"(X" + len(argument).to_bytes(4, "little") + argument + b"tR."
    (tmp_path / "bad").write_bytes(b"\x80\x02" + bomb)
    with pytest.raises(Exception, match=r".+"):  # no checkpoint at all, but nothing must happen
        load_checkpoint("bad")
    assert os.listdir(tmp_path) == ["good"] or sorted(os.listdir(tmp_path)) == ["bad", "good"]
    assert load_checkpoint("good")["epoch"] == 3


def test_values_of_old_files_are_kept(tmp_path):
    stranger = Stranger(a=1)
    stranger.note = "hello"
    counts = defaultdict(list, {"a": [1]})
    old = {
        **state(),
        "val_result": np.float64(71.5),
        "array": np.arange(3.0),
        "counts": counts,
        "milestones": Counter([3, 6]),
        "ordered": OrderedDict(a=torch.ones(1)),
        "parameter": nn.Parameter(torch.ones(2)),
        "half": torch.ones(1, dtype=torch.float16),
        "kinds": (torch.float16, torch.device("cpu"), torch.Size([2]), {1}, slice),
        "stranger": stranger,
    }
    torch.save(old, tmp_path / "old")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "old", weights_only=True)

    found = load_checkpoint(str(tmp_path / "old"))
    assert found["val_result"] == 71.5
    assert found["array"].tolist() == [0.0, 1.0, 2.0]
    assert found["counts"] == counts and found["milestones"] == Counter([3, 6])
    assert found["ordered"]["a"].item() == 1.0 and found["half"].dtype == torch.float16
    assert isinstance(found["parameter"], nn.Parameter)
    assert found["kinds"][:4] == (torch.float16, torch.device("cpu"), torch.Size([2]), {1})
    assert type(found["stranger"]) is not Stranger and found["stranger"].note == "hello"


@pytest.mark.parametrize("in_zip", [True, False])
def test_old_files_of_both_formats(tmp_path, in_zip):
    path = str(tmp_path / "old")
    old = {**state(), "scheduler": Stranger()}
    torch.save(old, path, _use_new_zipfile_serialization=in_zip)
    found = load_checkpoint(path)
    assert torch.equal(found["state_dict"]["weight"], old["state_dict"]["weight"])


def test_damaged_files_are_refused(tmp_path):
    save_checkpoint(state(), str(tmp_path))
    whole = (tmp_path / "model.pth.tar-3").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(pickle.UnpicklingError, match="cut off"):
        load_checkpoint(str(tmp_path / "cut"))


def test_programs_are_refused(tmp_path):
    path = str(tmp_path / "program")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), path)
    with pytest.raises(ValueError, match="TorchScript archive"):
        load_checkpoint(path)


def test_every_copy_of_the_reader_is_the_same():
    reader = dassl.utils.torchtools.load_checkpoint
    assert dassl.utils.load_checkpoint is reader
    assert getattr(dassl.engine.trainer, "load_checkpoint", reader) is reader


# Resuming


def schedule(warmup="constant"):
    cfg = get_cfg_default().OPTIM
    cfg.update(LR=2e-3, LR_SCHEDULER="cosine", WARMUP_EPOCH=1, WARMUP_TYPE=warmup, MAX_EPOCH=10)
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=2e-3, momentum=0.9)
    return model, optimizer, build_lr_scheduler(optimizer, cfg)


def advance(optimizer, scheduler, epochs):
    found = []
    for _ in range(epochs):
        optimizer.step()
        scheduler.step()
        found.append(optimizer.param_groups[0]["lr"])
    return found


def as_dassl_saved_it(scheduler):
    """The state with the successor as an object, which holds a copy of the optimiser."""
    return {key: value for key, value in vars(scheduler).items() if key != "optimizer"}


@pytest.mark.parametrize("warmup", ["constant", "linear"])
@pytest.mark.parametrize("epochs", [1, 4])
@pytest.mark.parametrize("old", [True, False])
def test_the_schedule_goes_on_after_resuming(tmp_path, capsys, warmup, epochs, old):
    _, optimizer, scheduler = schedule(warmup)
    advance(optimizer, scheduler, epochs)
    model, *_ = schedule()
    state = {
        "state_dict": model.state_dict(),
        "epoch": epochs,
        "optimizer": optimizer.state_dict(),
        "scheduler": as_dassl_saved_it(scheduler) if old else scheduler.state_dict(),
    }
    save_checkpoint(state, str(tmp_path))
    rest = advance(optimizer, scheduler, 9 - epochs)

    resumed, optimizer, scheduler = schedule(warmup)
    assert resume_from_checkpoint(str(tmp_path), resumed, optimizer, scheduler) == epochs
    assert torch.equal(resumed.weight, model.weight)
    assert advance(optimizer, scheduler, 9 - epochs) == rest
    printed = capsys.readouterr().out
    assert f'Loading checkpoint from "{tmp_path / f"model.pth.tar-{epochs}"}"\n' in printed
    assert printed.endswith(
        "Loaded model weights\nLoaded optimizer\nLoaded scheduler\n" + f"Previous epoch: {epochs}\n"
    )


def test_todays_files_need_no_trust(tmp_path):
    model, optimizer, scheduler = schedule()
    advance(optimizer, scheduler, 4)
    new = {**state(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    save_checkpoint(new, str(tmp_path))
    assert torch.load(tmp_path / "model.pth.tar-3", weights_only=True)["epoch"] == 3


# Initial weights


def test_pretrained_weights_that_match_are_loaded(tmp_path, capsys):
    donor = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 5))
    torch.save({"state_dict": nn.DataParallel(donor).state_dict()}, tmp_path / "donor")
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    before = model[1].weight.clone()
    load_pretrained_weights(model, str(tmp_path / "donor"))
    assert torch.equal(model[0].weight, donor[0].weight)
    assert torch.equal(model[1].weight, before)
    assert capsys.readouterr().out == (
        f"Successfully loaded pretrained weights from {tmp_path / 'donor'}\n"
        "Layers discarded due to unmatched keys or size: ['1.weight', '1.bias']\n"
    )


def test_pretrained_weights_of_another_model(tmp_path):
    torch.save({"other": torch.ones(1)}, tmp_path / "donor")
    with pytest.warns(UserWarning, match=r"Cannot load .* \(check the key names"):
        load_pretrained_weights(nn.Linear(2, 2), str(tmp_path / "donor"))


def test_a_failed_reading_names_the_file(tmp_path, capsys):
    (tmp_path / "text").write_text("no checkpoint")
    with pytest.raises(pickle.UnpicklingError):
        load_checkpoint(str(tmp_path / "text"))
    assert f'Unable to load checkpoint from "{tmp_path / "text"}"' in capsys.readouterr().out
