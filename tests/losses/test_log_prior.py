from __future__ import annotations

import math

import pytest
import torch

from losses.log_prior import centred_log_prior


def test_shares_of_images_whatever_their_number():
    """log pi - mean log pi of shares pi; a class without an image counts as one with one."""
    counts, images = [7, 1, 0, 40], 50
    logs = [math.log(max(count, 1) / images) for count in counts]
    expected = [log - sum(logs) / len(logs) for log in logs]
    assert centred_log_prior(torch.tensor(counts)).tolist() == pytest.approx(expected, abs=1e-6)


def test_equal_classes_are_left_alone():
    assert centred_log_prior(torch.full((5,), 9)).abs().max() < 1e-6
