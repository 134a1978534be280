"""What trained contexts are near to: the nearest words of CLIP's vocabulary.

As CoOp reads them (Zhou et al., IJCV 2022, https://arxiv.org/abs/2109.01134, section 4.4): by the
Euclidean distance between a context token and the embedding of each token of the vocabulary.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tabulate import tabulate
from torch import Tensor
from tqdm import tqdm

from modeling.prompts.prompt_learner import PromptLearner
from prediction.trained_model import TrainedModel


@dataclass(frozen=True)
class ContextToken:
    """A context token and the words nearest to it.

    Attributes:
        role: of the contexts it belongs to, e.g. "ctx", or "pos" and "neg".
        classname: the class it belongs to; "" where all classes share it.
        number: its place among the contexts of its role and class, from 1.
        words: the nearest first, as CLIP's vocabulary writes them ("</w>" ends a word).
        distances: of each of them, Euclidean.
    """

    role: str
    classname: str
    number: int
    words: list[str]
    distances: list[float]


def nearest_words(run: TrainedModel, top: int = 5) -> list[ContextToken]:
    """The words nearest to each context token of a model, role by role and class by class.

    Words that share their embedding with others are left out, as they cannot be told apart: of the
    tiny CLIP those that it has never seen, of OpenAI's none.

    Args:
        run: of a method that trains contexts in the text tower.
        top: words for each token.

    Raises:
        ValueError: there are no such contexts, or fewer words than asked for.
    """
    learner = _contexts_of(run)
    embedding = run.model.clip.clip_model.token_embedding.weight.detach().double()  # [V, E]
    kept = distinct_rows(embedding)
    if not 1 <= top <= len(kept):
        raise ValueError(f"--top must be from 1 to {len(kept)}, the words there are; got {top}.")
    texts = run.model.clip.tokenizer.vocabulary()
    words, embedding = [texts[row] for row in kept.tolist()], embedding[kept]
    squares, found = embedding.square().sum(dim=1), []  # [V]
    for role, classname, contexts in tqdm([*_sets(run, learner)], "Nearest words", leave=False):
        # |v - w|^2 in float64, where the difference of large numbers loses nothing that is printed.
        contexts = contexts.double()
        squared = (
            contexts.square().sum(dim=1, keepdim=True) + squares - 2 * contexts @ embedding.t()
        )
        nearest = squared.clamp(min=0).sqrt().topk(top, largest=False)  # [M, top]
        pairs = zip(nearest.indices.tolist(), nearest.values.tolist(), strict=True)
        for number, (places, distances) in enumerate(pairs, start=1):
            own = [words[place] for place in places]
            found.append(ContextToken(role, classname, number, own, distances))
    return found


def distinct_rows(matrix: Tensor) -> Tensor:
    """Places of those rows of a matrix [V, E] that equal no other row, ascending."""
    _, inverse, counts = matrix.unique(dim=0, return_inverse=True, return_counts=True)
    return (counts[inverse] == 1).nonzero().flatten()


def _contexts_of(run: TrainedModel) -> PromptLearner:
    """What holds a model's contexts in the text tower.

    Raises:
        ValueError: there are none; with the reason.
    """
    learner = run.model.learner
    found = getattr(learner, "prompts", learner)  # PVLR's are a part of what it trains
    if isinstance(found, PromptLearner):
        return found
    name = run.cfg.TRAINER.NAME
    if learner is not None and hasattr(learner, "prompts"):
        raise ValueError(
            f"This run of {name} trains no tokens in the text tower, where words are, but behind "
            f"it. Train it with TRAINER.{name.upper()}.CONTEXT_SIDE pre."
        )
    raise ValueError(
        f"{name} trains no contexts, so there is nothing to read; train CoOp, LMPT or another "
        "method of prompts."
    )


def _sets(run: TrainedModel, learner: PromptLearner) -> Iterator[tuple[str, str, Tensor]]:
    """Role, class ("" for all) and contexts [M, E]."""
    for role in learner.roles:
        contexts = learner.contexts(role).detach()  # [C, M, E]
        if run.model.option("CSC", False):
            for classname, own in zip(run.classnames, contexts, strict=True):
                yield role, classname, own
        else:
            yield role, "", contexts[0]


def as_table(tokens: Sequence[ContextToken]) -> str:
    """A line for each token: words and distances, beside role and class where there are several."""
    several_roles = len({token.role for token in tokens}) > 1
    per_class = any(token.classname for token in tokens)
    columns = ["role"] * several_roles + ["class"] * per_class + ["token"]
    rows = [
        [token.role] * several_roles
        + [token.classname] * per_class
        + [token.number]
        + [f"{w} {d:.3f}" for w, d in zip(token.words, token.distances, strict=True)]
        for token in tokens
    ]
    ranks = [f"nearest {rank}" for rank in range(1, len(tokens[0].words) + 1)]
    return tabulate(rows, headers=[*columns, *ranks], disable_numparse=True)


def as_csv(tokens: Sequence[ContextToken]) -> str:
    """A line for each token and word: role, class, token, rank, word, distance."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["role", "class", "token", "rank", "word", "distance"])
    for token in tokens:
        pairs = zip(token.words, token.distances, strict=True)
        for rank, (word, distance) in enumerate(pairs, start=1):
            row = [token.role, token.classname, token.number, rank, word, f"{distance:.6f}"]
            writer.writerow(row)
    return file.getvalue()
