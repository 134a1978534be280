from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from modeling.captions.caption_distance import CaptionDistance
from modeling.captions.caption_tokens import CaptionTokens
from modeling.clip.loader import encode_words
from modeling.clip.tokenizer import CONTEXT_LENGTH
from modeling.encoders.text_encoder import TextEncoder
from modeling.prompts.prompt_learner import PromptLearner
from tests.helpers.tolerance import assert_as_exact, in_double

NAMES = ["cat", "traffic light", "tv monitor"]
TEXTS = ["a cat sits under a traffic light.", "screens", "", "one two three four five six " * 20]
CAPTIONS = CaptionTokens([[text] for text in TEXTS], torch.ones(4, 3), NAMES)
M, GENERAL = 5, 2


def naive(clip_model, learner, rows, space, prompt_tokens, caption_tokens, reduce):
    """The distance by loops over images, classes and positions, from whole 77-token prompts."""
    embed = clip_model.token_embedding
    contexts, prompts = (x.to(embed.weight.dtype) for x in (learner.contexts(), learner()))
    padding = embed.weight[0].expand(len(NAMES), CONTEXT_LENGTH - learner.length, -1)
    prompts = torch.cat([prompts, padding], dim=1)  # [C, 77, E]
    distances = []
    for row, c in itertools.product(rows.tolist(), range(len(NAMES))):
        ids = CAPTIONS.tokens[row]
        end = int(ids.argmax())
        seen = embed(ids)
        mine = (contexts if prompt_tokens == "instance" else prompts)[c, GENERAL:]
        if caption_tokens == "words":
            theirs = seen[1:end]
        else:
            theirs = seen
        if space == "pooled":  # all words, also those that 77 tokens have no room for
            pooled, words = torch.zeros_like(mine[0]), encode_words(TEXTS[row])
            for word in words:
                pooled = pooled + embed.weight[word] / len(words)
            distances.append(1 - F.cosine_similarity(pooled, mine.mean(dim=0), dim=0))
            continue
        count = min(len(mine), len(theirs))
        each = [1 - F.cosine_similarity(theirs[p], mine[p], dim=0) for p in range(count)]
        total = torch.stack(each).sum() if each else mine.sum() * 0
        distances.append(total / max(count, 1) if reduce == "mean" else total)
    return torch.stack(distances).view(len(rows), len(NAMES))


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("csc", [True, False])
@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("caption_tokens", ["words", "positions"])
@pytest.mark.parametrize("prompt_tokens", ["instance", "from_m"])
@pytest.mark.parametrize("space", ["token", "pooled"])
def test_fused_equals_naive_in_value_and_gradient(
    space, prompt_tokens, caption_tokens, reduce, csc, position, vit
):
    learner = PromptLearner(NAMES, vit, n_ctx=M, csc=csc, position=position)
    encoder = TextEncoder(vit)
    choice = (space, prompt_tokens, caption_tokens, reduce)
    distance = CaptionDistance(CAPTIONS, learner, encoder, GENERAL, *choice)
    # Contexts move during training; the constant part of the table must not know them.
    with torch.no_grad():
        learner.ctx += torch.randn_like(learner.ctx) * 0.05
    rows = torch.tensor([3, 0, 2, 0, 1])
    twins = [naive(clip_model, learner, rows, *choice) for clip_model in (vit, in_double(vit))]
    found = [distance(rows, torch.zeros(3, 1)), *twins]
    assert_as_exact(*found)
    weight = torch.randn(5, 3)
    assert_as_exact(*(torch.autograd.grad((d * weight).sum(), learner.ctx)[0] for d in found))


def test_the_pooled_space_reads_the_whole_caption(vit):
    """A last word changes a caption of 80 tokens as it does the plain mean of its embeddings."""
    words = "a red cat below " * 20
    texts = [words + "dog", words + "boat"]
    captions = CaptionTokens([[text] for text in texts], torch.ones(2, 3), NAMES)
    assert torch.equal(*captions.tokens)  # both are cut before it
    learner = PromptLearner(NAMES, vit, n_ctx=M)
    distance = CaptionDistance(captions, learner, TextEncoder(vit), GENERAL, "pooled")
    last = [vit.token_embedding.weight[encode_words(text)[-1]] for text in texts]
    torch.testing.assert_close(81 * (distance.table[0] - distance.table[1]), last[0] - last[1])
    cut = CaptionTokens([[text] for text in texts], torch.ones(2, 3), NAMES, truncation="char75")
    distance = CaptionDistance(cut, learner, TextEncoder(vit), GENERAL, "pooled")
    expected = vit.token_embedding.weight[encode_words(words[:75])].mean(dim=0)
    torch.testing.assert_close(distance.table, expected.expand(2, -1))


def test_text_space_compares_features(vit):
    learner = PromptLearner(NAMES, vit, n_ctx=M)
    encoder = TextEncoder(vit)
    distance = CaptionDistance(CAPTIONS, learner, encoder, GENERAL, "text")
    features = encoder(learner(), learner.eot)
    captions = vit.encode_text(CAPTIONS.tokens[[1, 0]])
    expected = 1 - F.cosine_similarity(captions[:, None], features[None], dim=-1)
    torch.testing.assert_close(distance(torch.tensor([1, 0]), features), expected)


def test_the_step_holds_only_positions_that_train(vit):
    learner = PromptLearner(NAMES, vit, n_ctx=M)
    encoder = TextEncoder(vit)
    whole = CaptionDistance(
        CAPTIONS, learner, encoder, GENERAL, "token", "from_m", "positions", "sum"
    )
    # v_m to v_M stand at prompt positions m to M, and meet the caption's positions 0 to M - m.
    assert whole.tokens.shape[1] == M - GENERAL + 1
    assert whole.table.shape == (len(TEXTS), len(NAMES))


def test_general_tokens_never_meet_the_caption(vit):
    learner = PromptLearner(NAMES, vit, n_ctx=M, csc=True)
    distance = CaptionDistance(CAPTIONS, learner, TextEncoder(vit), GENERAL)
    gradient = torch.autograd.grad(
        distance(torch.tensor([0, 3]), torch.zeros(3, 1)).sum(), learner.ctx
    )[0]
    assert (gradient[:, :GENERAL] == 0).all() and (gradient[:, GENERAL:] != 0).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": "image"}, "CSE.SPACE must be one of token, pooled, text"),
        ({"prompt_tokens": "all"}, "prompt_tokens"),
        ({"caption_tokens": "all"}, "caption_tokens"),
        ({"general": 5}, "M_CTX must leave context tokens .* got 5"),
    ],
)
def test_wrong_choices_are_refused(options, message, vit):
    learner = PromptLearner(NAMES, vit, n_ctx=M)
    with pytest.raises(ValueError, match=message):
        CaptionDistance(CAPTIONS, learner, TextEncoder(vit), **{"general": GENERAL, **options})
