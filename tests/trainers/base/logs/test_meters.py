from __future__ import annotations

import pytest
import torch

from trainers.base.logs.meters import NotFiniteError, TermMeters


def test_values_are_those_of_python_averages():
    meters, values = TermMeters(), torch.rand(7)
    for value in values:
        meters.update({"loss": value, "loss_cls": 2 * value})
    read = meters.read()
    assert read["loss"] == pytest.approx((float(values[-1]), float(values.mean())))
    assert read["loss_cls"] == pytest.approx((2 * float(values[-1]), 2 * float(values.mean())))


def test_terms_may_be_written_over():
    meters, term = TermMeters(), torch.zeros(())
    for value in (1.0, 2.0, 6.0):
        term.fill_(value)
        meters.update({"loss": term})
    assert meters.read()["loss"] == (6.0, 3.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_noticed_however_long_ago(value):
    meters = TermMeters()
    for one in (1.0, 2.0):
        meters.update({"loss": torch.tensor(one), "loss_cls": torch.tensor(0.5)})
    meters.read()
    for one in (1.0, value, 1.0):
        meters.update({"loss": torch.tensor(one), "loss_cls": torch.tensor(one)})
    with pytest.raises(NotFiniteError, match="loss_cls became infinite or NaN in step 4") as found:
        meters.read()
    assert (found.value.index, found.value.step, found.value.parts) == (1, 3, ["loss_cls"])


def test_a_loss_without_parts_is_named_itself():
    meters = TermMeters()
    meters.update({"loss": torch.tensor(float("nan")), "part": torch.tensor(1.0)})
    with pytest.raises(NotFiniteError, match="^loss became"):
        meters.read()


def test_the_line_is_dassls():
    assert TermMeters.line({"loss": (1.0, 2.0), "x": (0.5, 0.25)}) == (
        "loss 1.0000 (2.0000) x 0.5000 (0.2500)"
    )
