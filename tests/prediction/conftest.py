"""Trained runs that the tests of this folder share."""

from __future__ import annotations

import pytest

from tests.helpers.runs.trained_runs import TrainedRuns


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedRuns:
    """Quick runs."""
    return TrainedRuns(tmp_path_factory.mktemp)
