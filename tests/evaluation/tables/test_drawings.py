from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from evaluation.tables.drawings import matrix_image, picture_card

WHITE, DARK = (255, 255, 255), (8, 64, 129)


@pytest.mark.parametrize("classes", [3, 400])
def test_the_lowest_value_is_white_and_the_highest_dark(classes):
    values = torch.full((classes, classes), 0.5)
    values[0, 0], values[-1, -1] = 1.0, 0.2
    image = np.asarray(matrix_image(values, [f"class {c}" for c in range(classes)]))
    cell = 24 if classes == 3 else 4
    height, _, _ = image.shape
    top, left = height - cell * classes, image.shape[1] - max(cell * classes, 200)
    assert tuple(image[top, left]) == DARK
    assert tuple(image[height - 1, left + cell * classes - 1]) == WHITE
    middle = np.array(image[top, left + cell], dtype=float)  # (0.5 - 0.2) / (1 - 0.2) of the way
    assert middle == pytest.approx(255 + 0.375 * (np.array(DARK) - 255.0), abs=1)


def test_equal_values_have_one_shade():
    image = np.asarray(matrix_image(torch.ones(2, 2), ["a", "b"]))
    assert tuple(image[-1, -1]) == tuple(image[-40, -1]) == WHITE


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (900, 900)])
def test_a_card_shows_the_whole_picture_and_text(size):
    card = np.asarray(picture_card(Image.new("RGB", size, "red"), ["labels: cat"]))
    red = (card[:, :224] == (255, 0, 0)).all(axis=-1)
    rows, columns = red.any(axis=1).sum(), red.any(axis=0).sum()
    assert max(rows, columns) == 224 and columns * size[1] == rows * size[0]
    assert (card[:, 224:] < 100).any()


def test_long_lines_are_broken_and_unknown_letters_do_not_stop_it():
    few, many = (
        np.asarray(picture_card(Image.new("RGB", (8, 8)), lines))
        for lines in (["word"], ["word " * 40, "猫"] * 9)
    )
    written = [np.flatnonzero((card[:, 224:] < 100).any(axis=(1, 2))).max() for card in (few, many)]
    assert written[0] < 20 < 100 < written[1]
    assert not (many[:, -8:] < 100).any()  # nothing is cut off at the edge
