from __future__ import annotations

import pytest
import torch

from modeling.clip.loader import import_clip, tokenize
from modeling.clip.tokenizer import end_positions
from modeling.prompts.prompt_learner import PromptLearner
from tests.helpers.naive.naive_text import naive_prompts

NAMES = ["cat", "traffic_light", "tv monitor", "motorbike"]


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("csc", [False, True])
@pytest.mark.parametrize("n_ctx", [1, 4, 5])
def test_prompts_are_coops(position, csc, n_ctx, vit):
    learner = PromptLearner(NAMES, vit, n_ctx=n_ctx, csc=csc, position=position)
    expected = naive_prompts(NAMES, vit, learner.ctx, position)
    prompts = learner()
    assert prompts.shape == (len(NAMES), learner.length, 64)
    assert torch.equal(prompts, expected[:, : learner.length])
    weight = torch.randn_like(prompts)
    ours = torch.autograd.grad((prompts * weight).sum(), learner.ctx)[0]
    theirs = torch.autograd.grad((expected[:, : learner.length] * weight).sum(), learner.ctx)[0]
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_end_token_is_where_the_full_sentence_has_it(vit):
    learner = PromptLearner(NAMES, vit, n_ctx=3)
    tokens = tokenize(["X X X " + name.replace("_", " ") + "." for name in NAMES])
    assert torch.equal(learner.eot, end_positions(tokens))
    assert learner.length == int(learner.eot.max()) + 1


@pytest.mark.parametrize("csc", [False, True])
def test_words_start_every_class(csc, vit):
    learner = PromptLearner(NAMES, vit, n_ctx=16, csc=csc, ctx_init="a photo of a")
    words = vit.token_embedding(tokenize(["a photo of a"]))[0, 1:5]
    assert learner.n_ctx == 4
    assert torch.equal(learner.contexts(), words.expand(len(NAMES), 4, -1))
    assert learner.ctx.dim() == (3 if csc else 2)


def test_only_contexts_are_trained_and_saved(vit):
    learner = PromptLearner(NAMES, vit, roles=("pos", "neg"), csc=True)
    assert set(learner.state_dict()) == {"ctx_pos", "ctx_neg"}
    assert {name for name, _ in learner.named_parameters()} == {"ctx_pos", "ctx_neg"}
    assert not torch.equal(learner.ctx_pos, learner.ctx_neg)
    assert learner("pos").shape == learner("neg").shape
    assert all(p.dtype is torch.float32 for p in learner.parameters())


def test_random_start_depends_on_the_generator_alone(vit):
    def start(seed):
        return PromptLearner(NAMES, vit, generator=torch.Generator().manual_seed(seed)).ctx

    first = start(3)
    torch.rand(7)
    assert torch.equal(first, start(3))
    assert not torch.equal(first, start(4))
    assert 0.015 < float(first.detach().std()) < 0.025


def test_shared_contexts_move_to_other_classes(vit):
    trained = PromptLearner(NAMES, vit, n_ctx=4)
    other = PromptLearner(["dog"], vit, n_ctx=4)
    other.load_state_dict(trained.state_dict())
    assert torch.equal(other()[0, 1:5], trained()[0, 1:5])


def test_a_prompt_that_is_too_long_names_its_class(vit):
    name = "a very long name " * 10
    with pytest.raises(ValueError, match="a very long name.*60 of context.*Lower N_CTX"):
        PromptLearner(["cat", name], vit, n_ctx=60)
    assert len(PromptLearner(["cat"], vit, n_ctx=73).eot) == 1  # 77 tokens exactly
    with pytest.raises(ValueError, match="'cat' needs 78"):
        PromptLearner(["cat"], vit, n_ctx=74)


def test_unknown_positions_and_empty_contexts_are_refused(vit):
    with pytest.raises(ValueError, match="end, middle, front"):
        PromptLearner(NAMES, vit, position="back")
    with pytest.raises(ValueError, match="N_CTX must be at least 1"):
        PromptLearner(NAMES, vit, n_ctx=0)


@pytest.mark.parametrize(
    ("position", "csc", "prefix"),
    [("end", False, 5), ("middle", False, 3), ("front", False, 0), ("end", True, 0)],
)
def test_shared_prefix_is_the_same_in_every_prompt(position, csc, prefix, vit):
    learner = PromptLearner(NAMES, vit, n_ctx=4, csc=csc, position=position)
    assert learner.shared_prefix == prefix <= int(learner.eot.min())
    prompts = learner()
    assert torch.equal(prompts[:, :prefix], prompts[:1, :prefix].expand(len(NAMES), -1, -1))
    assert not torch.equal(prompts[0, prefix + 1], prompts[1, prefix + 1])


def test_tokenizer_of_clip_has_the_end_token_last():
    assert int(import_clip().tokenize("")[0].max()) == 49407
