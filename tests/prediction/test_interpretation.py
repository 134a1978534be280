from __future__ import annotations

import csv
import io
import math

import pytest
import torch

from modeling.clip.loader import encode_words, vocabulary
from prediction import load_run
from prediction.interpretation import as_csv, as_table, distinct_rows, nearest_words
from tests.helpers.sets.small_set import NAMES

# Trainer, roles, whether contexts are each class's own, words.
KINDS = {
    "CoOp": ("CoOp", ["ctx"], False, "TRAINER.COOP.N_CTX", "2"),
    "DualCoOp": ("DualCoOp", ["pos", "neg"], True, "TRAINER.DUALCOOP.N_CTX", "2"),
    "DualCoOpPP": (
        *("DualCoOpPP", ["evidence", "pos", "neg"], False),
        *("TRAINER.DUALCOOPPP.CSC", "False", "TRAINER.DUALCOOPPP.N_CTX", "2"),
    ),
    "TaIDPT": ("TaIDPT", ["global", "local"], False, "TRAINER.TAIDPT.N_CTX", "2"),
    "CoCoOp": ("CoCoOp", ["ctx"], False),
    "PVLR": ("PVLR", ["ctx"], False, "TRAINER.PVLR.CONTEXT_SIDE", "pre"),
}


def naive_nearest(context, embedding, count):
    """Distances and words by a loop over the vocabulary, one number after another."""
    found = []
    for text, row in zip(vocabulary(), embedding, strict=True):
        found.append((math.dist(context, row), text))
    return sorted(found)[:count]


def loaded(trained, kind):
    trainer, roles, per_class, *words = KINDS[kind]
    return load_run(trained.folder(trainer, *words)), roles, per_class


@pytest.mark.parametrize("kind", KINDS)
def test_every_token_has_its_nearest_words(kind, trained):
    run, roles, per_class = loaded(trained, kind)
    tokens = nearest_words(run, top=4)
    classes = NAMES if per_class else [""]
    per_set = len(tokens) // (len(roles) * len(classes))
    places = [(r, c, n + 1) for r in roles for c in classes for n in range(per_set)]
    assert [(t.role, t.classname, t.number) for t in tokens] == places
    state = run.model.learner.state_dict()
    name = {"ctx": "prompts.ctx" if kind == "PVLR" else "ctx"}.get(roles[-1], f"ctx_{roles[-1]}")
    context = state[name].flatten(0, -2)[-1].tolist()  # the last token of the last class and role
    embedding = run.model.clip.clip_model.token_embedding.weight.tolist()
    expected = naive_nearest(context, embedding, 4)
    assert tokens[-1].words == [word for _, word in expected]
    assert tokens[-1].distances == pytest.approx([distance for distance, _ in expected], rel=1e-6)


def test_a_token_that_is_a_word_is_at_distance_0_and_words_alike_are_left_out(trained):
    run, *_ = loaded(trained, "CoOp")
    weight = run.model.clip.clip_model.token_embedding.weight
    cat, dog = encode_words("cat dog")
    with torch.no_grad():
        run.model.learner.ctx[0] = weight[cat]
    first = nearest_words(run, top=1)[0]
    assert (first.words, first.distances) == (["cat</w>"], pytest.approx([0.0], abs=1e-7))
    weight[dog] = weight[cat]
    assert nearest_words(run, top=1)[0].words not in (["cat</w>"], ["dog</w>"])
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [1.0, 3.0]])
    assert distinct_rows(rows).tolist() == [1, 3]


def test_tables_and_csv_hold_all_of_it(trained):
    tokens = nearest_words(loaded(trained, "DualCoOp")[0], top=2)
    rows = list(csv.DictReader(io.StringIO(as_csv(tokens))))
    assert len(rows) == 2 * len(tokens) == 2 * 2 * 4 * 2
    last = rows[-1]
    assert (last["role"], last["class"], last["token"], last["rank"]) == ("neg", "tv", "2", "2")
    assert last["word"] == tokens[-1].words[1]
    assert float(last["distance"]) == pytest.approx(tokens[-1].distances[1], abs=1e-6)
    head, _, *lines = as_table(tokens).splitlines()
    assert head.split() == ["role", "class", "token", "nearest", "1", "nearest", "2"]
    assert len(lines) == len(tokens)
    assert f"{last['word']} {float(last['distance']):.3f}" in lines[-1]
    shared = nearest_words(loaded(trained, "CoOp")[0], top=1)
    assert as_table(shared).splitlines()[0].split() == ["token", "nearest", "1"]


@pytest.mark.parametrize(
    "trainer, reason",
    [
        ("ZeroshotCLIP", "ZeroshotCLIP trains no contexts"),
        ("LinearProbe", "LinearProbe trains no contexts"),
        ("TARP", "TARP trains no contexts"),
        ("PVLR", r"behind it. Train it with TRAINER\.PVLR\.CONTEXT_SIDE pre"),
    ],
)
def test_a_run_without_contexts_is_refused_with_the_reason(trainer, reason, trained):
    with pytest.raises(ValueError, match=reason):
        nearest_words(load_run(trained.folder(trainer)))


@pytest.mark.parametrize("top", [0, 49409])
def test_no_more_words_than_there_are(top, trained):
    with pytest.raises(ValueError, match=f"--top must be from 1 to 49408.*got {top}"):
        nearest_words(loaded(trained, "CoOp")[0], top)
