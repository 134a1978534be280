"""Optional libraries are asked for in one line."""

from __future__ import annotations

import sys

import pytest

from modeling.towers.backbones import find_backbone
from modeling.towers.extras import import_extra


def test_a_missing_library_comes_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "no_such_library", None)
    with pytest.raises(ImportError, match="X needs no_such_library. Run: pip install no_such_lib"):
        import_extra("no_such_library", "X")


def test_the_package_of_open_clip_has_another_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ImportError, match="open_clip:RN50 needs open_clip.* open_clip_torch$"):
        find_backbone("open_clip:RN50")
