"""Which device a run computes on."""

from __future__ import annotations

import pytest
import torch

from common.devices import VARIABLE, device_name, run_device
from tests.helpers.fake_mps import fake_mps


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.mark.parametrize("value", [None, "", "auto"])
@pytest.mark.parametrize("has_cuda", [False, True])
@pytest.mark.parametrize("use_cuda", [False, True])
def test_cuda_is_used_where_it_is_there_and_wanted(value, has_cuda, use_cuda, monkeypatch):
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    with fake_mps():  # which is never used unasked
        assert run_device(use_cuda).type == ("cuda" if has_cuda and use_cuda else "cpu")


def test_apples_gpu_is_used_where_it_is_asked_for(monkeypatch):
    monkeypatch.setenv(VARIABLE, "mps")
    with fake_mps():
        assert run_device(True) == run_device(False) == torch.device("mps")
    assert device_name(torch.device("mps")) == "mps" and device_name(torch.device("cpu")) == "cpu"


def test_apples_gpu_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setenv(VARIABLE, "mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch finds none here. Unset LMPT_DEVICE"):
        run_device(True)


def test_another_word_is_refused(monkeypatch):
    monkeypatch.setenv(VARIABLE, "mpx")
    with pytest.raises(ValueError, match="LMPT_DEVICE must be .*mps.*mpx.*Did you mean 'mps'"):
        run_device(True)
