from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from prediction.annotate import annotate, annotated_paths, write_annotated
from prediction.predictor import Prediction

LABELS = ["cat 0.91", "traffic light 0.52"]


def darkest(picture, box):
    return int(np.asarray(picture.crop(box).convert("L")).min())


@pytest.mark.parametrize("size", [(96, 96), (500, 375), (40, 2000), (2400, 30)])
def test_labels_stand_in_a_strip_below_the_whole_picture(size):
    picture = Image.new("RGB", size, (200, 60, 60))
    found = annotate(picture, LABELS)
    shown = max(480, min(1600, max(size))) / max(size)
    height = max(1, round(size[1] * shown))
    assert found.height > height + 16
    middle = found.getpixel((found.width // 2, height // 2))
    assert middle == (200, 60, 60)
    assert darkest(found, (0, height, found.width, found.height)) < 60  # letters


def test_more_labels_make_the_strip_higher_and_none_runs_over():
    picture = Image.new("RGB", (480, 480))
    heights = [annotate(picture, [f"label {i} 0.50" for i in range(n)]).height for n in (1, 8, 60)]
    assert heights == sorted(set(heights))
    long = annotate(picture, ["a very long name of a class " * 9 + "0.50"])
    margin = np.asarray(long)[480:, -4:]
    assert long.height == heights[0]
    assert (margin == 255).all()


def test_every_picture_gets_a_file_of_its_own_and_none_is_overwritten(tmp_path):
    names = ["a/x.jpg", "b/x.jpg", "a/x.png", "a/x.png.jpg", "a/y"]
    paths = [str(tmp_path / "in" / name) for name in names]
    found = annotated_paths(paths, tmp_path / "out")
    assert len(set(found.values())) == len(names)
    assert found[paths[1]] == tmp_path / "out" / "b" / "x.jpg"
    assert found[paths[4]] == tmp_path / "out" / "a" / "y.jpg"
    into_itself = annotated_paths(paths, tmp_path / "in").values()
    assert not {*map(str, into_itself)} & {*paths}
    assert annotated_paths(paths[:1], tmp_path)[paths[0]] == tmp_path / "x.jpg"


def test_a_link_to_the_pictures_folder_does_not_overwrite_them_either(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    path = str(tmp_path / "in" / "x.jpg")
    assert annotated_paths([path], tmp_path / "link")[path].name == "x.jpg.jpg"


def test_a_written_picture_is_a_jpeg(tmp_path):
    Image.new("L", (50, 40), 128).save(tmp_path / "x.png")
    odds = torch.tensor([1.0, -1.0], dtype=torch.float64)
    for labels in (["cat"], []):
        prediction = Prediction(str(tmp_path / "x.png"), ["cat", "dog"], odds, labels)
        write_annotated(prediction, tmp_path / "new" / "x.jpg")
        with Image.open(tmp_path / "new" / "x.jpg") as written:
            assert written.format == "JPEG"
            assert written.width == 480
