"""Fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from compat.bootstrap import ensure_dassl

ensure_dassl()

from tests.helpers.models.small_clip import TOWERS, random_clip
from tests.helpers.models.small_towers import SmallTowers
from tests.helpers.sets.small_archives import served_files
from tests.helpers.sets.small_set import write_set

torch.set_num_threads(1)  # small models: a second thread costs more than it brings


@pytest.fixture(params=TOWERS)
def tower(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def clip_model(tower: str) -> torch.nn.Module:
    return random_clip(tower)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The small set beside a CLIP of each tower; for reading."""
    folders = {tower: tmp_path_factory.mktemp(tower) for tower in TOWERS}
    for tower, folder in folders.items():
        write_set(folder, tower)
    return folders


@pytest.fixture(scope="session")
def small_towers(tmp_path_factory: pytest.TempPathFactory) -> SmallTowers:
    """Small models of other libraries; for reading."""
    return SmallTowers(tmp_path_factory.mktemp("towers"))


@pytest.fixture
def vit() -> torch.nn.Module:
    return random_clip("ViT")


@pytest.fixture(autouse=True)
def same_random_numbers_in_every_run() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def caches_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Features are not kept beside the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def files() -> dict[str, bytes]:
    """What a small server of VOC-LT has."""
    return served_files()
