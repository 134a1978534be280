"""Items of a split, listed or made when they are asked for."""

from __future__ import annotations

import numpy as np
import pytest
from dassl.data.datasets import Datum

from common.items import impaths_of, targets_of
from common.sparse_targets import SparseTargets
from datasets.base import listed_image
from datasets.base.listed_image import ListedImages, listed_images
from datasets.files.image_list import Paths

PATHS = ["a.jpg", "b/c.jpg", "d.jpg"]
MATRIX = np.array([[1, 0], [0, 0], [1, 1]], np.float32)


@pytest.mark.parametrize("large", [False, True])
def test_items_are_the_same(large, monkeypatch):
    monkeypatch.setattr(listed_image, "LAZY_FROM_BYTES", 10 if large else 1 << 20)
    targets = SparseTargets.from_matrix(MATRIX)
    items = listed_images(Paths.of(PATHS), "folder/{}".format, targets)
    assert isinstance(items, ListedImages if large else list) and len(items) == 3
    for item, path, row in zip(items, PATHS, MATRIX, strict=True):
        assert isinstance(item, Datum) and item.impath == f"folder/{path}"
        assert item.label.dtype == np.float32 and item.label.tolist() == row.tolist()
    assert [item.impath for item in items[1:]] == list(impaths_of(items))[1:]
    assert items[-1].impath == impaths_of(items)[-1] == "folder/d.jpg"
    assert impaths_of(items)[:1] == ["folder/a.jpg"]
    assert (targets_of(items) is targets) == large
    with pytest.raises(IndexError):
        items[3]
