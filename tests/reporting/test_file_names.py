from __future__ import annotations

import pytest

from reporting.file_names import numbered_name


@pytest.mark.parametrize(
    "text, expected",
    [
        ("traffic light", "007_traffic_light"),
        ("../../etc/passwd", "007_etc_passwd"),
        ("\u00fc\0<b>" + "x" * 99, "007_b_" + "x" * 38),
        ("\u732b", "007"),
    ],
)
def test_names_are_safe_and_differ_by_their_number(text, expected):
    assert numbered_name(7, text) == expected
