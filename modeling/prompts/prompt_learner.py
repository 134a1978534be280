"""Trainable contexts around class names (CoOp, Zhou et al., IJCV 2022, https://arxiv.org/abs/2109.01134)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from common.choices import check_choice
from modeling.clip.text_kind import text_kind
from modeling.clip.tokenizer import Tokenizer

POSITIONS = ("end", "middle", "front")


class PromptLearner(nn.Module):
    """Prompts `[SOS] v_1 ... v_M classname . [EOT]` whose contexts v are trained.

    Contexts are the only parameters and the only thing in the state dict, always in fp32. They are
    called `ctx` for the role "ctx", as CoOp's checkpoints have it, and `ctx_<role>` for others.

    Args:
        classnames: C names; underscores become spaces.
        clip_model: the CLIP whose tokenizer and token embedding are used.
        roles: one set of contexts each, e.g. ("ctx",) or ("pos", "neg").
        n_ctx: M, the number of context tokens; taken from `ctx_init` where that is given.
        csc: class-specific contexts [C, M, E] instead of shared ones [M, E].
        ctx_init: words to start from, e.g. "a photo of a"; empty starts from N(0, 0.02^2).
        position: where the class name stands: "end", "middle" or "front" of the contexts.
        generator: source of the random start; torch's global one if None.

    Attributes:
        eot: position at which each prompt is read [C]; CLIP's end token.
        length: L, tokens of the longest prompt; nothing behind it can reach a feature. A text tower
            that sees padding has all of its positions.
        shared_prefix: leading positions that are the same in all prompts and worth computing once:
            the start token and the shared contexts before the names. 0 where that is the start
            token alone, which would cost more than it saves, and where attention is not causal.

    Raises:
        ValueError: an unknown position, no contexts, or a prompt of more tokens than fit
            (the message names the class).
    """

    def __init__(
        self,
        classnames: Sequence[str],
        clip_model: nn.Module,
        roles: Sequence[str] = ("ctx",),
        n_ctx: int = 16,
        csc: bool = False,
        ctx_init: str = "",
        position: str = "end",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_choice("CLASS_TOKEN_POSITION", position, POSITIONS)
        embedding = clip_model.token_embedding
        kind = text_kind(clip_model)
        words = kind.tokenizer.encode(ctx_init.replace("_", " "))
        self.n_ctx = len(words) or n_ctx
        if self.n_ctx < 1:
            raise ValueError(f"N_CTX must be at least 1, got {n_ctx}.")
        self.roles = tuple(roles)
        width = embedding.weight.shape[1]
        shape = (len(classnames), self.n_ctx, width) if csc else (self.n_ctx, width)
        for role in self.roles:
            if words:
                start = embedding.weight[torch.tensor(words)].detach().float().expand(shape).clone()
            else:
                start = torch.empty(shape).normal_(std=0.02, generator=generator)
            self.register_parameter(_parameter_name(role), nn.Parameter(start))

        before = {"end": self.n_ctx, "middle": self.n_ctx // 2, "front": 0}[position]
        shares = kind.causal and not csc and before > 0
        self.shared_prefix = len(kind.tokenizer.start) + before if shares else 0
        names = [name.replace("_", " ") for name in classnames]
        tokens, slots = _layout(names, kind.tokenizer, self.n_ctx, before)
        eot = kind.read_positions(tokens)  # [C]
        tokens = kind.without_padding(tokens).to(embedding.weight.device)
        self.length = tokens.shape[1]
        frozen = embedding(tokens).detach().float()  # [C, L, E]
        # Rebuilt from the class names at every start, so that trained contexts move between sets.
        self.register_buffer("frozen", frozen, persistent=False)
        self.register_buffer("slots", slots.unsqueeze(-1), persistent=False)  # [C, M, 1]
        self.register_buffer("eot", eot, persistent=False)

    def contexts(self, role: str = "ctx") -> Tensor:
        """Contexts of a role, one set for each class: [C, M, E] (expanded where shared)."""
        ctx = getattr(self, _parameter_name(role))
        return ctx if ctx.dim() == 3 else ctx.expand(len(self.frozen), -1, -1)

    def forward(self, role: str = "ctx", classes: Tensor | slice = slice(None)) -> Tensor:
        """Prompt embeddings of a role: [C, L, E], or of some classes alone, by their ids."""
        ctx = self.contexts(role)[classes]  # [C, M, E]
        return self.frozen[classes].scatter(1, self.slots[classes].expand_as(ctx), ctx)


def _parameter_name(role: str) -> str:
    return role if role == "ctx" else f"ctx_{role}"


def _layout(
    names: list[str], tokenizer: Tokenizer, n_ctx: int, before: int
) -> tuple[Tensor, Tensor]:
    """Token ids [C, 77] of prompts with `before` contexts before the name; their places [C, M]."""
    start, length = list(tokenizer.start), tokenizer.context_length
    tokens = torch.full((len(names), length), tokenizer.pad, dtype=torch.long)
    slots = torch.zeros(len(names), n_ctx, dtype=torch.long)
    for row, name in enumerate(names):
        # "name." is encoded as one string, because the full stop may merge into the name's tokens.
        name_ids, sentence_ids = tokenizer.encode(name), tokenizer.encode(name + ".")
        around = len(start) + 1
        used = around + n_ctx + len(sentence_ids)
        if used > length:
            raise ValueError(
                f"The prompt of class {name!r} needs {used} tokens ({n_ctx} of context, "
                f"{len(sentence_ids)} of name, {around} of start and end), {tokenizer.name} takes "
                f"{length}. Lower N_CTX or shorten the name."
            )
        head, tail = sentence_ids[: len(name_ids)], sentence_ids[len(name_ids) :]
        row_ids = [*start, *[0] * before, *head, *[0] * (n_ctx - before), *tail, tokenizer.end]
        tokens[row, : len(row_ids)] = torch.tensor(row_ids)
        places = torch.arange(len(start), len(start) + n_ctx)
        slots[row] = torch.where(torch.arange(n_ctx) < before, places, places + len(head))
    return tokens, slots
