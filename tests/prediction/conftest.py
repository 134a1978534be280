"""Trained runs that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.trained_runs import TrainedRuns


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainedRuns]:
    """Quick runs, without the report on the machine, which takes a second each."""
    import train

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "collect_env_info", str)
        yield TrainedRuns(tmp_path_factory.mktemp)
