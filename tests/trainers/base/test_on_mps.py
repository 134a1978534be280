"""Runs on a stand-in for Apple's GPU, which also shows what no GPU of any make allows."""

from __future__ import annotations

import pytest
import torch
from dassl.engine import TRAINER_REGISTRY, TrainerX
from torch.nn import functional as F

import train
from common.devices import VARIABLE
from tests.helpers.fake_mps import fake_mps
from tests.helpers.sets.small_set import arguments, contexts, results, write_set

WHOLE = ("OPTIM.MAX_EPOCH", "2", "TEST.SAVE_SCORES", "all")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_set(folder)
    return folder


@pytest.fixture
def on_mps(monkeypatch):
    monkeypatch.setenv(VARIABLE, "mps")


def test_the_stand_in_keeps_devices_apart():
    with fake_mps() as mode:
        weight = torch.ones(3, 2).to("mps")
        assert weight.device.type == "mps" and (weight * 2).cpu().tolist() == [[2, 2]] * 3
        with pytest.raises(RuntimeError, match="embedding got tensors on mps and on cpu"):
            F.embedding(torch.tensor([1]), weight)
        with pytest.raises(TypeError, match="float64"):
            weight.double()
        with pytest.raises(TypeError, match="float64"):
            torch.zeros(2, dtype=torch.float64, device="mps")
    assert mode.calls > 0


def test_a_run_ends_as_on_the_cpu(data, tmp_path, monkeypatch):
    train.main(arguments(data, "CoOp", tmp_path / "cpu", *WHOLE))
    monkeypatch.setenv(VARIABLE, "mps")
    with fake_mps() as mode:
        train.main(arguments(data, "CoOp", tmp_path / "mps", *WHOLE))
    monkeypatch.delenv(VARIABLE)
    assert mode.calls > 1000
    torch.testing.assert_close(contexts(tmp_path / "mps"), contexts(tmp_path / "cpu"))
    on_mps, on_cpu = (results(tmp_path / name) for name in ("mps", "cpu"))
    assert (on_mps["device"], on_cpu["device"]) == ("mps", "cpu")
    assert on_mps["metrics"]["mAP"] == pytest.approx(on_cpu["metrics"]["mAP"])
    assert "Device: mps, torch" in (tmp_path / "mps/log.txt").read_text()

    words = ("--eval-only", "--model-dir", str(tmp_path / "mps"))
    train.main([*arguments(data, "CoOp", tmp_path / "eval", *WHOLE), *words])  # with no such GPU
    assert results(tmp_path / "eval")["metrics"]["mAP"] == pytest.approx(on_cpu["metrics"]["mAP"])


METHODS = [
    name
    for name in TRAINER_REGISTRY.registered_names()
    if TRAINER_REGISTRY.get(name).__module__.startswith("trainers.")
]
ALSO = {"TaIDPT": ("DATASET.TEXT_AS_IMAGE", "True")}


@pytest.mark.parametrize("name", METHODS)
def test_methods_mix_no_devices(name, data, tmp_path, on_mps):
    more = ("OPTIM.MAX_EPOCH", "1", "OPTIM.WARMUP_EPOCH", "0", *ALSO.get(name, ()))
    with fake_mps() as mode:
        train.main(arguments(data, name, tmp_path, *more))
    assert mode.calls > 100 and results(tmp_path)["device"] == "mps"


@pytest.mark.parametrize(
    "more",
    [
        ("TRAINER.TUNE.NAME", "lora"),
        ("INPUT.TRANSFORMS", "('random_resized_crop', 'cutout', 'normalize')"),
        ("TRAINER.LOSS.NAME", "asl", "TRAINER.SAMPLER", "class_aware"),
    ],
)
def test_options_mix_no_devices(more, data, tmp_path, on_mps):
    with fake_mps():
        train.main(arguments(data, "CoOp", tmp_path, "OPTIM.MAX_EPOCH", "1", *more))
    assert results(tmp_path)["device"] == "mps"


@pytest.mark.parametrize("precision", ["fp16", "bf16", "amp"])
def test_other_precisions_are_refused(precision, data, tmp_path, on_mps):
    with fake_mps(), pytest.raises(ValueError, match=f"PREC must be fp32.*got {precision}"):
        train.main(arguments(data, "CoOp", tmp_path, "TRAINER.COOP.PREC", precision))


def test_trainers_of_others_are_refused(data, tmp_path, on_mps, monkeypatch):
    objects = getattr(TRAINER_REGISTRY, "_objects", None) or TRAINER_REGISTRY._obj_map
    monkeypatch.setitem(objects, "Foreign", TrainerX)
    with fake_mps(), pytest.raises(ValueError, match="Foreign cannot use LMPT_DEVICE=mps"):
        train.main(arguments(data, "Foreign", tmp_path))


@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="needs Apple's GPU")
def test_apples_gpu_ends_as_the_cpu_does(data, tmp_path, monkeypatch):
    train.main(arguments(data, "CoOp", tmp_path / "cpu"))
    monkeypatch.setenv(VARIABLE, "mps")
    train.main(arguments(data, "CoOp", tmp_path / "mps"))
    found = contexts(tmp_path / "mps").cpu()
    torch.testing.assert_close(found, contexts(tmp_path / "cpu"), atol=1e-3, rtol=0)
