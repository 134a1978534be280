"""Fixtures that several test files share."""

from __future__ import annotations

import pytest
import torch

from compat.bootstrap import ensure_dassl

ensure_dassl()

from tests.small_clip import TOWERS, random_clip

torch.set_num_threads(1)  # small models: a second thread costs more than it brings


@pytest.fixture(params=TOWERS)
def tower(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def clip_model(tower: str) -> torch.nn.Module:
    return random_clip(tower)


@pytest.fixture
def vit() -> torch.nn.Module:
    return random_clip("ViT")
