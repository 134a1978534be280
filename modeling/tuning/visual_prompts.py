"""Visual prompts: trained tokens beside the patches (VPT, Jia et al., ECCV 2022, https://arxiv.org/abs/2203.12119).

A gate for each block, which starts at 0, mixes attention without and with the prompts. The paper
has none, and so changes every feature before the first step; at gates of 1 this is the paper's.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


class VisualPrompts(nn.Module):
    """Tokens behind the patches of a vision transformer, and gates that let them be seen.

    Attention knows no order, so that behind the patches is as good as before them, and the class
    token and the regions keep their places. The tower's own weights stay frozen.

    Args:
        visual: the image tower, which gets hooks.
        tokens: T, for each block or in all.
        deep: whether every block has tokens of its own; else those of the first block pass through
            all.
        generator: source of the random start, on the CPU.
    """

    def __init__(
        self,
        visual: nn.Module,
        tokens: int,
        deep: bool,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        blocks, width = visual.transformer.resblocks, visual.transformer.width
        device = visual.class_embedding.device
        bound = (6 / (visual.conv1.weight[0].numel() + width)) ** 0.5  # the paper's, of a patch
        start = torch.empty(len(blocks) if deep else 1, tokens, width)
        self.tokens = nn.Parameter(start.uniform_(-bound, bound, generator=generator).to(device))
        self.gates = nn.Parameter(torch.zeros(len(blocks), device=device))
        visual.ln_pre.register_forward_hook(self._append)
        for index, block in enumerate(blocks):
            if deep and index > 0:
                block.ln_1.register_forward_pre_hook(partial(self._replace, index))
            block.attn.register_forward_hook(partial(self._mix, index))
        visual.ln_post.register_forward_pre_hook(self._drop)

    def _append(self, _: nn.Module, __: tuple, x: Tensor) -> Tensor:
        """Tokens of the first block behind those of the images: [B, 1 + R + T, W]."""
        return torch.cat([x, self.tokens[0].to(x.dtype).expand(x.shape[0], -1, -1)], dim=1)

    def _replace(self, index: int, _: nn.Module, args: tuple[Tensor]) -> Tensor:
        """A block's own tokens in place of those of the block before: [1 + R + T, B, W].

        The other way out of the block, past its attention, may keep the old ones, as nothing reads
        what comes of them.
        """
        own = self.tokens[index][:, None].to(args[0].dtype)  # [T, 1, W]
        count = own.shape[0]
        return torch.cat([args[0][:-count], own.expand(-1, args[0].shape[1], -1)])

    def _mix(self, index: int, attn: nn.Module, args: tuple, output: tuple) -> tuple[Tensor, Any]:
        """Attention over images alone, and as much of that over prompts as the gate says."""
        query, keys, _ = args  # keys are the values
        keys = keys[: -self.tokens.shape[1]]
        alone = attn.forward(query, keys, keys, need_weights=False)[0]  # without this hook
        return torch.lerp(alone, output[0], self.gates[index].to(alone.dtype)), output[1]

    def _drop(self, _: nn.Module, args: tuple[Tensor]) -> Tensor | None:
        """The tokens of the images alone, where it is not the class token's alone already."""
        x = args[0]
        return x[:, : -self.tokens.shape[1]] if x.dim() == 3 else None
