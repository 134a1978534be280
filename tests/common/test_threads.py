from __future__ import annotations

import pytest
import torch

from common.threads import step_threads, threads


def test_small_towers_on_a_cpu_get_one_thread(vit):
    assert step_threads(vit, torch.device("cpu")) == 1
    assert step_threads(vit, torch.device("cuda")) == torch.get_num_threads()
    vit.transformer.width = 512
    assert step_threads(vit, torch.device("cpu")) == torch.get_num_threads()


def test_the_number_of_threads_is_restored_whatever_happens():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before
