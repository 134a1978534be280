"""Rows of several ranks, and what all of them decide alike."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from common.ranks import (
    as_on_first,
    average_gradients,
    check_agreement,
    first_before_others,
    gather_rows,
    is_first,
    on_any,
    rank,
    share,
    working_together,
    world_size,
)
from tests.helpers.runs.ranks import on_ranks

RANKS = 3
COUNTS = (1, 2, 4, 5, 6, 7)  # of rows: some leave ranks without any


def _inputs(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    numbers = torch.Generator().manual_seed(count)
    return tuple(
        torch.randn(size, generator=numbers, dtype=torch.float64)
        for size in ((count, 4), (4, 3), (count, 3))
    )


def _loss(
    x: torch.Tensor, shared: torch.Tensor, alike: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Of the whole batch, with a part of which a rank has rows, and one that all compute."""
    scores = gather_rows(x[share(len(x))] @ shared, len(x))  # [count, 3]
    return (scores.logsumexp(dim=0) * y.sum(dim=0)).sum() + (scores * alike).square().mean()


def _gradients(count: int) -> list[torch.Tensor]:
    x, w, y = _inputs(count)
    shared, alike = torch.nn.Parameter(w), torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    _loss(x, shared, alike, y).backward()
    average_gradients([shared, alike, torch.nn.Parameter(torch.zeros(2))])  # one has no gradient
    return [shared.grad, alike.grad]


def _everything(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"rank": (rank(), world_size(), is_first())}
    for count in COUNTS:
        rows = torch.arange(2 * count).view(count, 2)
        found[f"rows {count}"] = gather_rows(rows[share(count)], count)
        found[f"truths {count}"] = gather_rows((rows % 2 == 0)[share(count)], count)
        found[f"gradients {count}"] = _gradients(count)
    found["as on first"] = as_on_first({"seed": rank() + 5})
    found["on any"] = [on_any(rank() == 1), on_any(False)]
    with first_before_others():
        found["written before"] = (folder / "0").exists()
        (folder / str(rank())).touch()
    check_agreement(torch.tensor(2.0), "the loss")
    try:
        check_agreement(torch.tensor(2.0 + rank() / 10), "the loss")
    except RuntimeError as error:
        found["disagreement"] = str(error)
    with working_together(use_cuda=False):  # a second one changes nothing
        found["still"] = world_size()
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return on_ranks(RANKS, _everything, tmp_path_factory.mktemp("ranks"))


def test_ranks_are_numbered(found: list[dict[str, Any]]) -> None:
    assert [f["rank"] for f in found] == [(n, RANKS, n == 0) for n in range(RANKS)]
    assert all(f["still"] == RANKS for f in found)


@pytest.mark.parametrize("count", COUNTS)
def test_every_rank_has_all_rows(found: list[dict[str, Any]], count: int) -> None:
    rows = torch.arange(2 * count).view(count, 2)
    for one in found:
        assert torch.equal(one[f"rows {count}"], rows)
        assert torch.equal(one[f"truths {count}"], rows % 2 == 0)


@pytest.mark.parametrize("count", COUNTS)
def test_gradients_are_those_of_one_process(found: list[dict[str, Any]], count: int) -> None:
    expected = _gradients(count)  # here, where there is one rank
    for one in found:
        for gradient, alone in zip(one[f"gradients {count}"], expected, strict=True):
            torch.testing.assert_close(gradient, alone)


def test_decisions_are_taken_alike(found: list[dict[str, Any]]) -> None:
    assert all(f["as on first"] == {"seed": 5} for f in found)
    assert all(f["on any"] == [True, False] for f in found)
    assert [f["written before"] for f in found] == [False, True, True]


def test_drifting_ranks_are_refused(found: list[dict[str, Any]]) -> None:
    for one in found:
        assert "the loss differs between the ranks: [2.0" in one["disagreement"]


def test_one_process_has_all_rows() -> None:
    rows = torch.rand(5, 2)
    assert gather_rows(rows[share(5)], 5) is not None
    assert torch.equal(gather_rows(rows[share(5)], 5), rows)
    assert (rank(), world_size(), is_first()) == (0, 1, True)
    assert as_on_first("x") == "x"


def _leave() -> None:
    if rank() == 1:
        os._exit(3)
    gather_rows(torch.zeros(1), world_size())


def test_a_lost_rank_is_told_of() -> None:
    with pytest.raises(RuntimeError, match="another rank of this run has ended"):
        on_ranks(2, _leave)
