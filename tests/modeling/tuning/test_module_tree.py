from __future__ import annotations

import torch
from torch import nn

from modeling.tuning.module_tree import ModuleTree


def test_parts_keep_their_names_and_are_shared():
    weight, layer = nn.Parameter(torch.zeros(2)), nn.Linear(1, 1)
    tree = ModuleTree({"a.0.weight": weight, "a.0.inner.layer": layer, "lone": layer.bias})
    names = ["a.0.weight", "a.0.inner.layer.weight", "a.0.inner.layer.bias", "lone"]
    assert sorted(tree.state_dict()) == sorted(names)
    assert tree.get_parameter("a.0.weight") is weight
