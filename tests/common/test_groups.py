from __future__ import annotations

import pytest

from common.groups import GROUPS, group_of


@pytest.mark.parametrize(
    ("count", "group"),
    [(0, "tail"), (19, "tail"), (20, "medium"), (99, "medium"), (100, "head"), (775, "head")],
)
def test_group_of(count, group):
    assert group_of(count) == group
    assert group in GROUPS
