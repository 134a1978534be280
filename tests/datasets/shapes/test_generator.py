"""A drawn set lies on the disk in VOC-LT's layout, whole or not at all, the same every time."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from dataclasses import replace

import pytest
from PIL import Image

from datasets.shapes.generator import _sharing, ensure_generated
from datasets.shapes.glyphs import SHAPE_NAMES
from datasets.shapes.renderer import SIDE
from datasets.shapes.specs import ShapesSpec

SMALL = ShapesSpec(
    train_images=30,
    train_counts=(*range(1, 11), 1, *(1,) * 9),
    test_images=20,
    test_counts=(2,) * 20,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return ensure_generated(tmp_path_factory.mktemp("data"), SMALL)


def read_rows(path):
    rows = [line.split(" ") for line in path.read_text().splitlines()]
    return {row[0]: [int(value) for value in row[1:]] for row in rows}


def count_classes(rows):
    counter = Counter(class_id for row in rows for class_id in row)
    return [counter[class_id] for class_id in range(len(SHAPE_NAMES))]


def test_files_have_the_layout_of_voc_lt(folder):
    labels = (folder / "shapes_labels.txt").read_text().splitlines()
    assert labels == [f"{name} {index}" for index, name in enumerate(SHAPE_NAMES)]
    train, test = (read_rows(folder / f"shapes_lt_{split}.txt") for split in ("train", "test"))
    assert count_classes(train.values()) == list(SMALL.train_counts)
    assert count_classes(test.values()) == list(SMALL.test_counts)
    captions = (folder / "shapes_lt_captions.txt").read_text().splitlines()
    assert [line.split(" ", 1)[0] for line in captions] == list(train)
    assert all(line.endswith(".") for line in captions)
    for path in (*train, *test):
        with Image.open(folder / path) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (SIDE, SIDE), "RGB")


def test_generation_is_reproducible_and_depends_on_the_seed(folder, tmp_path):
    again = ensure_generated(tmp_path / "again", SMALL)
    other = ensure_generated(tmp_path / "other", replace(SMALL, seed=7))
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(names) == 30 + 20 + 5
    assert all((folder / name).read_bytes() == (again / name).read_bytes() for name in names)
    assert any((folder / name).read_bytes() != (other / name).read_bytes() for name in names)


def test_a_fresh_folder_is_kept_and_a_stale_one_rebuilt(tmp_path):
    folder = ensure_generated(tmp_path, SMALL)
    image = next((folder / "images").iterdir())
    before = image.stat().st_mtime_ns, image.stat().st_ino
    ensure_generated(tmp_path, SMALL)
    assert (image.stat().st_mtime_ns, image.stat().st_ino) == before
    (folder / SMALL.stamp_file).write_text("an older version\n")
    ensure_generated(tmp_path, SMALL)
    assert (folder / SMALL.stamp_file).read_text() == SMALL.stamp()
    assert [path.name for path in tmp_path.iterdir()] == ["shapes_lt"]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "shapes_lt").mkdir()
    (tmp_path / "shapes_lt" / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="was not generated here"):
        ensure_generated(tmp_path, SMALL)
    assert (tmp_path / "shapes_lt" / "mine.txt").read_text() == "keep"
    assert [path.name for path in tmp_path.iterdir()] == ["shapes_lt"]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("disk full")

    monkeypatch.setattr("datasets.shapes.generator.render", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        ensure_generated(tmp_path, SMALL)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_may_generate_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=ensure_generated, args=(tmp_path, SMALL)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["shapes_lt"]


def test_what_a_killed_process_has_drawn_is_removed_unless_somebody_draws(tmp_path):
    ensure_generated(tmp_path, SMALL)
    left = tmp_path / ".shapes_lt-k1lled_" / "shapes_lt"
    left.mkdir(parents=True)
    with _sharing(tmp_path) as held:
        assert held
        ensure_generated(tmp_path, SMALL)
        assert left.is_dir()
    ensure_generated(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["shapes_lt"]
