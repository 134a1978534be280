from __future__ import annotations

import numpy as np
import pytest
import torch

from prediction import zero_shot
from prediction.demo import LONGEST_SIDE, Demo, zero_shot_beside
from tests.helpers.runs.untrained_runs import a_picture, untrained
from tests.helpers.sets.small_set import NAMES


@pytest.fixture(scope="module")
def demo(roots):
    root = roots["ViT"]
    own, shared = untrained(root, "DualCoOp"), untrained(root, "CoOp")
    return Demo([own, zero_shot_beside(own), shared])


def scores_of(rows, place):
    return {row.classname: row.scores[place] for row in rows if row.scores[place] is not None}


def test_rows_hold_the_scores_of_each_model(demo, roots):
    path, picture = a_picture(roots["ViT"])
    rows = demo.rows(demo.look_at(path))
    for place, model in enumerate(demo.models):
        expected = model.scores(model.logits(model.transform(picture)[None]))[0].tolist()
        assert scores_of(rows, place) == pytest.approx(
            dict(zip(NAMES, expected, strict=True)), abs=1e-5
        )
    first = [row.scores[0] for row in rows]
    assert first == sorted(first, reverse=True)


def test_other_names_reach_the_models_that_can_take_them(demo, roots):
    seen = demo.look_at(a_picture(roots["ViT"])[0])
    before = demo.rows(seen)
    rows = demo.rows(seen, ["wolf", "cat"])
    assert scores_of(rows, 0) == scores_of(before, 0)
    assert set(scores_of(rows, 1)) == set(scores_of(rows, 2)) == {"wolf", "cat"}
    assert sum(scores_of(rows, 1).values()) == pytest.approx(1)  # a softmax over the new names
    assert scores_of(rows, 2)["cat"] == pytest.approx(scores_of(before, 2)["cat"], rel=1e-4)
    assert demo.rows(seen) == before
    assert [bool(reason) for reason in demo.why_fixed] == [True, False, False]
    with pytest.raises(ValueError, match="needs .* tokens|77 tokens"):
        demo.rows(seen, ["very " * 80 + "long"])


def test_zero_shot_clip_has_the_runs_backbone_and_preprocessing(roots):
    run = untrained(roots["ViT"], "CoOp", "INPUT.RESIZE", "crop", "TEST.SCORE", "sigmoid")
    beside = zero_shot_beside(run)
    image = a_picture(roots["ViT"])[1]
    torch.testing.assert_close(beside.transform(image), run.transform(image))
    inputs = run.cfg.INPUT
    words = ["MODEL.BACKBONE.NAME", run.cfg.MODEL.BACKBONE.NAME, "INPUT.SIZE", str(inputs.SIZE)]
    plain = zero_shot(NAMES, words=words)
    batch = run.transform(image)[None]
    torch.testing.assert_close(beside.logits(batch), plain.logits(batch))
    assert beside.scores(beside.logits(batch)).sum().item() == pytest.approx(1)


def test_zero_shot_clip_sees_its_own_size_where_a_run_looks_closer(roots):
    run = untrained(roots["ViT"], "DualCoOp", "INPUT.SIZE", "(64, 96)")
    path, picture = a_picture(roots["ViT"])
    demo = Demo([run, zero_shot_beside(run)])
    seen = demo.look_at(path)
    assert demo.map_of(seen, 0, "cat").values.shape == (8, 12)
    assert demo.models[1].transform(picture).shape == (3, 32, 32)


def test_a_map_is_drawn_over_the_picture_as_shown(demo, roots):
    seen = demo.look_at(a_picture(roots["ViT"])[0])
    assert demo.with_regions == [0]
    drawn = demo.map_of(seen, 0, "dog")
    assert drawn.image.size == seen.shown.size and max(seen.shown.size) == LONGEST_SIDE
    assert drawn.values.shape == (4, 4)
    pixels = np.asarray(drawn.image.convert("L"), dtype=float)
    height, width = pixels.shape
    means = pixels[: height // 4 * 4].reshape(4, height // 4, 4, width // 4).mean(axis=(1, 3))
    best, worst = drawn.values.argmax().item(), drawn.values.argmin().item()
    assert means.flat[best] > means.flat[worst]
    with pytest.raises(ValueError, match="Did you mean 'dog'"):
        demo.map_of(seen, 0, "dogg")


def test_a_bad_picture_is_one_sentence_with_its_name(demo, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name in ("notes.png", "empty.jpg", "absent.png"):
        with pytest.raises(ValueError) as caught:
            demo.look_at(tmp_path / name)
        message = str(caught.value)
        assert message.startswith(name) and message.endswith(".") and "\n" not in message
        assert str(tmp_path) not in message
