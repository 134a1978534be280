from __future__ import annotations

import base64

import pytest
from jinja2 import UndefinedError

from reporting.page import data_uri, figure_of, render_page


def test_figures_are_held_as_they_are(tmp_path):
    (tmp_path / "a.svg").write_text("<svg/>")
    figure = figure_of(tmp_path / "a.svg", "a curve")
    head, _, content = figure.uri.partition(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(content) == b"<svg/>"
    assert data_uri(b"\xff", "image/jpeg") == "data:image/jpeg;base64,/w=="


def test_a_page_without_its_parts_is_an_error():
    with pytest.raises(UndefinedError):
        render_page({})
