"""A module that holds parts under the dotted names that they have in another one."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


class ModuleTree(nn.Module):
    """Parameters and modules under dotted names: a checkpoint then names them as CLIP does.

    Args:
        parts: by name, such as "transformer.resblocks.0.ln_1.weight"; shared, not copied.
    """

    def __init__(self, parts: Mapping[str, nn.Parameter | nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            *path, last = name.split(".")
            node: nn.Module = self
            for step in path:
                if step not in dict(node.named_children()):
                    node.add_module(step, nn.Module())
                node = node.get_submodule(step)
            if isinstance(part, nn.Parameter):
                node.register_parameter(last, part)
            else:
                node.add_module(last, part)
