from __future__ import annotations

import pytest

from common.choices import check_choice, hint, nearest, spelled

METHODS = ["CoOp", "DualCoOp", "LMPT", "ZeroshotCLIP"]


@pytest.mark.parametrize(
    "word, meant", [("lmpt", "LMPT"), ("LMTP", "LMPT"), ("dualcop", "DualCoOp"), ("xyz", None)]
)
def test_the_nearest_word_whatever_its_case(word, meant):
    assert nearest(word, METHODS) == meant
    assert hint(word, METHODS) == (f" Did you mean {meant!r}?" if meant else "")


def test_there_is_always_a_nearest_one_on_request():
    assert nearest("xyz", METHODS, cutoff=0.0) in METHODS
    assert nearest("x" * 10**6, METHODS, cutoff=0.0) in METHODS  # and is found at once


def test_choices():
    check_choice("KEY", "mean", ("mean", "sum"))
    with pytest.raises(ValueError, match=r"KEY must be one of mean, sum, got 'men'. .* 'mean'\?"):
        check_choice("KEY", "men", ("mean", "sum"))
    with pytest.raises(ValueError, match=r"KEY must be one of mean, sum, got 3\.$"):
        check_choice("KEY", 3, ("mean", "sum"))


def test_spelling():
    assert spelled("lmpt", METHODS) == "LMPT"
    assert spelled("coop", ["CoOp", "COOP"]) == "coop"  # which of them is not known
    assert spelled("COOP", ["CoOp", "COOP"]) == "COOP"
    assert spelled("new", METHODS) == "new" and spelled(3, METHODS) == 3
