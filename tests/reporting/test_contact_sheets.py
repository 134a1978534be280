from __future__ import annotations

import io

import numpy as np
from PIL import Image

from loading.images import read_picture
from prediction import load_run
from prediction.region_maps import region_cosines
from reporting.contact_sheets import (
    SIDE,
    add_thumbnails,
    draw_thumbnail,
    find_entries,
    write_sheet,
)
from reporting.methods import Ranking, read_methods
from reporting.regions import Box, region_box
from tests.helpers.runs.saved_runs import made_scores


def opened(content):
    return Image.open(io.BytesIO(content))


def test_entries_know_what_their_pictures_show():
    scores, targets = made_scores(30, 3)
    paths = [f"{i}.jpg" for i in range(30)]
    entries = find_entries(Ranking(scores, targets, paths), 3)
    assert [len(members) for members in entries] == [6, 6, 6]
    for column, members in enumerate(entries):
        for entry in members:
            image = paths.index(entry.path)
            assert (targets[image, column] == 1) == (entry.kind == "miss")
            assert entry.present == [c for c in range(3) if targets[image, c] == 1]


def test_frames_lie_around_the_strongest_region(runs):
    (method,) = read_methods([runs / "DualCoOp"])
    run = load_run(method.folder)
    entries = find_entries(method.ranking, 2)
    add_thumbnails(entries, run, method.label)
    assert any(entries)
    for column, members in enumerate(entries):
        for entry in members:
            picture = read_picture(entry.path)
            cosines = region_cosines(run, run.features(run.transform(picture)[None]))[0]
            stride = run.model.clip.image_encoder.stride
            boxes = [
                region_box(region, stride, run.cfg.INPUT, *picture.size)
                for region, cosine in enumerate(cosines[:, column].tolist())
                if cosine > cosines[:, column].max() - 1e-5  # batches may round otherwise
            ]
            assert entry.box in boxes
            assert opened(entry.thumbnail).size == picture.size  # smaller than a thumbnail


def test_thumbnails_are_small_and_framed():
    picture = Image.new("RGB", (400, 200), (200, 30, 30))
    plain, framed = (
        np.asarray(opened(draw_thumbnail(picture, box)).convert("L"), float)
        for box in (None, Box(0.25, 0.25, 0.75, 0.75))
    )
    assert plain.shape == (SIDE // 2, SIDE)
    changed = abs(framed - plain) > 30
    assert changed[SIDE // 8, SIDE // 2] and changed[SIDE // 4, SIDE // 4]
    assert not changed[SIDE // 4, SIDE // 2] and not changed[2, 2]


def test_absent_pictures_leave_a_reason(tmp_path):
    scores, targets = made_scores(30, 1)
    Image.new("RGB", (40, 20)).save(tmp_path / "0.png")
    paths = [str(tmp_path / f"{i % 2}.png") for i in range(30)]
    (entries,) = find_entries(Ranking(scores, targets, paths), 4)
    add_thumbnails([entries], None, "LMPT")
    for entry in entries:
        absent = entry.path.endswith("1.png")
        assert (entry.thumbnail is None) == absent
        assert ("there is no such file" in entry.reason) == absent
    write_sheet(tmp_path / "sheet.png", entries)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height > SIDE
    write_sheet(tmp_path / "none.png", [e for e in entries if e.thumbnail is None])
    assert not (tmp_path / "none.png").exists()
