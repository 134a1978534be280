"""Long-tailed splits of any multi-label list."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dassl.config import get_cfg_default
from PIL import Image

from datasets import list_lt
from datasets.base import long_tail_dataset as longtail
from datasets.files.captions import read_captions
from datasets.files.list_files import read_labels, read_list
from datasets.list_lt import ListLT
from scripts import make_longtail
from scripts.data.longtail_selection import select, wanted_counts

SCRIPT = Path(make_longtail.__file__)


def draw(seed: int, images: int = 400, classes: int = 8) -> np.ndarray:
    """Labels of a made-up set in which some classes come together; bool [N, C]."""
    rng = np.random.default_rng(seed)
    targets = rng.random((images, classes)) < rng.uniform(0.02, 0.5, classes)
    targets[:, 1] |= targets[:, 0] & (rng.random(images) < 0.8)
    return targets


def distance(counts: np.ndarray, wanted: np.ndarray) -> float:
    return float((np.abs(counts - wanted) / np.maximum(wanted, 1)).sum())


class TestWantedCounts:
    available = np.array([50, 900, 0, 300, 7])

    def test_profiles_fall_from_head_to_tail_by_availability(self):
        wanted = wanted_counts(self.available, 100, 10, 0, "exponential")
        assert wanted.tolist() == [32, 100, 0, 56, 7]  # ratio 10^(1/4); 18 for the fourth class
        wanted = wanted_counts(self.available, 100, 10, 0, "pareto")
        power = np.log(10) / np.log(5)
        assert wanted.tolist() == [round(100 * 3**-power), 100, 0, round(100 * 2**-power), 7]

    def test_least(self):
        wanted = wanted_counts(self.available, 100, 1, 12, "exponential")
        assert wanted.tolist() == [12, 100, 0, 32, 7]

    def test_one_class(self):
        for profile in ("exponential", "pareto"):
            assert wanted_counts(np.array([9]), 5, 2, 0, profile).tolist() == [5]


@pytest.mark.parametrize("seed", range(6))
class TestSelect:
    def choose(self, seed, least=4):
        targets = draw(seed)
        available = targets.sum(axis=0)
        wanted = wanted_counts(available, 100, 4, least, ("exponential", "pareto")[seed % 2])
        floors = np.minimum(wanted, least)
        chosen = select(targets, wanted, floors, np.random.default_rng(seed))
        return targets, wanted, floors, chosen

    def test_counts_keep_their_bounds(self, seed):
        targets, wanted, floors, chosen = self.choose(seed)
        counts = targets[chosen].sum(axis=0)
        assert len(set(chosen.tolist())) == len(chosen) and (np.diff(chosen) > 0).all()
        assert (counts <= targets.sum(axis=0)).all()
        assert (counts >= floors).all()
        assert targets[chosen].any(axis=1).all()  # an image without labels is of no use

    def test_no_single_step_brings_it_nearer(self, seed):
        targets, wanted, floors, chosen = self.choose(seed)
        counts = targets[chosen].sum(axis=0)
        reached = distance(counts, wanted)
        for image in range(len(targets)):
            step = -1 if image in chosen else 1
            changed = counts + step * targets[image]
            if (changed >= floors)[targets[image]].all() or step == 1:
                assert distance(changed, wanted) >= reached - 1e-9

    def test_nearer_than_chance(self, seed):
        targets, wanted, _, chosen = self.choose(seed)
        reached = distance(targets[chosen].sum(axis=0), wanted)
        rng = np.random.default_rng(99)
        for _ in range(20):
            random = rng.choice(len(targets), len(chosen), replace=False)
            assert reached < 0.5 * distance(targets[random].sum(axis=0), wanted)

    def test_the_seed_decides(self, seed):
        first, second = self.choose(seed)[3], self.choose(seed)[3]
        assert np.array_equal(first, second)
        targets, wanted, floors, _ = self.choose(seed)
        other = select(targets, wanted, floors, np.random.default_rng(seed + 1))
        assert not np.array_equal(first, other)


def test_floors_win_over_nearness():
    targets = np.zeros((20, 3), dtype=bool)
    targets[:, 0] = True  # every image of the rare classes is one of the frequent class
    targets[:10, 1] = targets[10:, 2] = True
    wanted = floors = np.array([2, 4, 4])  # less of the first class would be nearer on the whole
    chosen = select(targets, wanted, floors, np.random.default_rng(0))
    assert targets[chosen].sum(axis=0).tolist() == [8, 4, 4]


def test_independent_labels_are_met_exactly():
    targets = np.eye(5, dtype=bool).repeat(50, axis=0)
    wanted = wanted_counts(targets.sum(axis=0), 40, 3, 1, "exponential")
    chosen = select(targets, wanted, np.ones(5, int), np.random.default_rng(0))
    assert targets[chosen].sum(axis=0).tolist() == wanted.tolist()


class TestCommand:
    NAMES = ["person", "traffic light", "dog", "cat", "cow", "car", "bus", "boat"]

    @pytest.fixture
    def source(self, tmp_path):
        """A list of 400 images with captions for most, and one picture that all names link to."""
        folder = tmp_path / "all"
        (folder / "my pictures").mkdir(parents=True)
        targets = draw(3)
        rows = [
            f"my pictures/{i}.jpg {' '.join(map(str, np.flatnonzero(target)))}\n"
            for i, target in enumerate(targets)
        ]
        (folder / "list.txt").write_text("".join(rows))
        (folder / "labels.txt").write_text("".join(f"{n} {i}\n" for i, n in enumerate(self.NAMES)))
        captions = [f"my pictures/{i}.jpg a view, number {i}\n" * (1 + i % 2) for i in range(300)]
        (folder / "captions.txt").write_text("".join(captions))
        Image.new("RGB", (4, 4)).save(folder / "one.jpg")
        for i in range(len(targets)):
            (folder / f"my pictures/{i}.jpg").symlink_to(folder / "one.jpg")
        return folder

    def words(self, source, output, *more):
        return [
            str(source / "list.txt"),
            *("--labels", str(source / "labels.txt"), "--output", str(output)),
            *("--head", "80", "--tail", "5", "--min", "3", "--seed", "7", *more),
        ]

    def test_the_result_is_a_list_lt(self, source, tmp_path, capsys):
        output = tmp_path / "lt"
        captions = ("--captions", str(source / "captions.txt"))
        assert make_longtail.main(self.words(source, output, "--test", "6", *captions)) == 0
        cfg = get_cfg_default()
        longtail.extend_cfg(cfg)
        list_lt.extend_cfg(cfg)
        cfg.DATASET.ROOT, cfg.DATASET.FOLDER = str(tmp_path), "lt"
        data = ListLT(cfg)  # every picture is found from the new folder
        assert data.classnames == self.NAMES
        assert data.class_counts.min() >= 3
        train = read_list(output / "train.txt", 8)
        test = read_list(output / "test.txt", 8)
        assert not {e.path for e in train} & {e.path for e in test}
        given = {e.path: e.labels for e in read_list(source / "list.txt", 8)}
        for entry in train + test:
            assert given[entry.path.removeprefix("../all/")] == entry.labels
        counts = np.bincount([label for e in test for label in e.labels], minlength=8)
        assert counts.max() <= 3 * 6
        texts = read_captions(output / "captions.txt")
        assert set(texts) <= {e.path for e in train}
        for entry in train:
            number = int(entry.path.removesuffix(".jpg").rsplit("/", 1)[1])
            wanted = [f"a view, number {number}"] * (1 + number % 2) if number < 300 else None
            assert texts.get(entry.path) == wanted
        out = capsys.readouterr().out
        assert f"train.txt: {len(train)} images" in out and "distance is" in out

    def test_the_same_again_and_nothing_is_overwritten(self, source, tmp_path, capsys):
        output = tmp_path / "lt"
        assert make_longtail.main(self.words(source, output)) == 0
        before = (output / "train.txt").read_bytes()
        assert make_longtail.main(self.words(source, output)) == 0
        assert make_longtail.main(self.words(source, output, "--seed", "8")) == 1
        assert (output / "train.txt").read_bytes() == before
        captured = capsys.readouterr()
        assert "train.txt exists" in captured.err
        assert "no test.txt" in captured.out
        assert read_labels(output / "labels.txt") == self.NAMES

    def test_a_validation_list_of_its_own_seed(self, source, tmp_path, capsys):
        def lists(name, *more):
            words = self.words(source, tmp_path / name, "--test", "6", *more)
            assert make_longtail.main(words) == 0
            return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

        plain, first = lists("plain"), lists("first", "--val", "5")
        again, other = (
            lists("again", "--val", "5", "--val-seed", "0"),
            lists("other", "--val", "5", "--val-seed", "1"),
        )
        assert first == plain | {"val.txt": first["val.txt"]} == again
        assert other == plain | {"val.txt": other["val.txt"]} and other != first
        splits = {
            split: read_list(tmp_path / "first" / f"{split}.txt", 8)
            for split in ("train", "test", "val")
        }
        paths = [entry.path for entries in splits.values() for entry in entries]
        assert len(set(paths)) == len(paths)  # no image is in two lists
        counts = {
            split: np.bincount([label for e in entries for label in e.labels], minlength=8)
            for split, entries in splits.items()
        }
        given = read_list(source / "list.txt", 8)
        in_all = np.bincount([label for e in given for label in e.labels], minlength=8)
        left = in_all - counts["train"] - counts["test"]
        assert (counts["val"] >= np.minimum(left, 5) - 2).all()  # as balanced as the test list
        assert counts["val"].max() <= 3 * 5
        assert "val.txt: " in capsys.readouterr().out

    def test_a_validation_list_without_a_test_list(self, source, tmp_path):
        assert make_longtail.main(self.words(source, tmp_path / "lt", "--val", "4")) == 0
        assert not (tmp_path / "lt" / "test.txt").exists()
        train = {e.path for e in read_list(tmp_path / "lt" / "train.txt", 8)}
        val = {e.path for e in read_list(tmp_path / "lt" / "val.txt", 8)}
        assert val and not val & train

    def test_paths_start_from_the_new_folder(self, source):
        assert make_longtail.main(self.words(source, source / "lt", "--pictures", str(source))) == 0
        assert (source / "lt" / "train.txt").read_text().startswith("../my pictures/")
        assert make_longtail.main(self.words(source, source)) == 0  # beside its own labels.txt
        assert (source / "train.txt").read_text().startswith("my pictures/")
        text = (source / "list.txt").read_text()
        (source / "list.txt").write_text(text.replace("my pictures", "/elsewhere"))
        assert make_longtail.main(self.words(source, source / "absolute")) == 0
        assert (source / "absolute" / "train.txt").read_text().startswith("/elsewhere/")

    def test_plot(self, source, tmp_path):
        pytest.importorskip("matplotlib")
        picture = tmp_path / "plots" / "counts.png"
        assert make_longtail.main(self.words(source, tmp_path / "lt", "--plot", str(picture))) == 0
        with Image.open(picture) as image:
            assert image.size[0] > 500
        many = [f"class {i}" for i in range(60)]  # too many to name each
        for names in (self.NAMES, many):
            counts = np.arange(len(names))
            make_longtail.plot(names, counts[::-1], counts, tmp_path / f"{len(names)}.svg")
        assert b"traffic light" in (tmp_path / "8.svg").read_bytes()
        assert b"class 7" not in (tmp_path / "60.svg").read_bytes()

    @pytest.mark.parametrize(
        ("more", "rule"),
        [
            (["--tail", "90"], "--tail <= --head"),
            (["--tail", "0"], "1 <= --tail"),
            (["--min", "-1"], "0 or more"),
            (["--val", "-1"], "0 or more"),
        ],
    )
    def test_numbers_that_do_not_fit(self, source, tmp_path, more, rule, capsys):
        with pytest.raises(SystemExit):
            make_longtail.main(self.words(source, tmp_path / "lt", *more))
        assert rule in capsys.readouterr().err

    def test_captions_of_another_list(self, source, tmp_path, capsys):
        words = self.words(source, tmp_path / "lt", "--captions", str(source / "captions.txt"))
        assert make_longtail.main([*words, "--captions-prefix", "elsewhere"]) == 1
        assert "no caption" in capsys.readouterr().err
        assert not (tmp_path / "lt").exists()

    def test_from_any_folder(self, tmp_path):
        done = subprocess.run(
            [sys.executable, str(SCRIPT), "--help"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0 and "--head" in done.stdout
