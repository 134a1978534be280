from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from datasets.base.partial_labels import hcp_known_labels, known_labels, shared_known_labels

PATHS = [f"pictures/{i}.jpg" for i in range(500)]


class TestKnownLabels:
    @pytest.mark.parametrize("proportion", [0.1, 0.5, 0.9])
    def test_each_label_with_its_probability(self, proportion):
        known = known_labels(PATHS, 20, proportion, seed=1)
        assert known.shape == (500, 20) and known.dtype == bool
        assert abs(known.mean() - proportion) < 0.02
        assert np.abs(known.mean(axis=0) - proportion).max() < 0.08  # Bernoulli, four sigmas

    def test_all_or_none(self):
        assert known_labels(PATHS, 3, 1.0, 0).all() and not known_labels(PATHS, 3, 0.0, 0).any()

    def test_depends_on_seed_and_path_alone(self):
        known = known_labels(PATHS, 20, 0.5, 1)
        assert np.array_equal(known_labels(PATHS[::-1], 20, 0.5, 1)[::-1], known)
        assert np.array_equal(known_labels(PATHS[7:9], 20, 0.5, 1), known[7:9])
        assert 0.4 < (known_labels(PATHS, 20, 0.5, 2) == known).mean() < 0.6

    def test_what_is_known_at_less_is_known_at_more(self):
        less, more = (known_labels(PATHS, 20, p, 1) for p in (0.3, 0.6))
        assert (more | ~less).all() and more.sum() > less.sum()


class TestTheDrawOfHcp:
    """Figures of the masks that TaI-DPT's authors published for VOC 2007's 5,011 x 20 labels."""

    IMAGES = [f"{i:06}.jpg" for i in range(5011)]
    SHARES = (10.09, 20.16, 30.10, 39.98, 50.05, 60.15, 69.97, 79.96, 89.98)  # known, percent

    def test_shares_that_are_known(self):
        masks = [hcp_known_labels(self.IMAGES, self.IMAGES, 20, k / 10) for k in range(1, 10)]
        assert [round(100 * known.mean(), 2) for known in masks] == list(self.SHARES)
        assert (~masks[0]).all(axis=1).sum() == 533  # images without a known label
        assert all((more | ~less).all() for less, more in pairwise(masks))

    def test_subsets_keep_their_rows(self):
        known = hcp_known_labels(self.IMAGES, self.IMAGES, 20, 0.5)
        some = [self.IMAGES[i] for i in (4000, 7, 8)]
        assert np.array_equal(hcp_known_labels(self.IMAGES, some, 20, 0.5), known[[4000, 7, 8]])


class TestSharedMask:
    @pytest.fixture
    def file(self, tmp_path):
        return tmp_path / "masks" / "half.npz"

    def test_the_first_run_writes_it_and_others_read_it(self, file):
        first = shared_known_labels(file, PATHS, PATHS[10:20], 4, 0.5, seed=1)
        assert np.array_equal(first, known_labels(PATHS[10:20], 4, 0.5, 1))
        assert [path.name for path in file.parent.iterdir()] == ["half.npz"]
        second = shared_known_labels(str(file), PATHS[:30], PATHS[:30], 4, 0.5, seed=2)
        assert np.array_equal(second[10:20], first)
        with np.load(file, allow_pickle=False) as saved:
            assert saved["paths"].tolist() == PATHS and saved["known"].shape == (500, 4)

    @pytest.mark.parametrize(
        ("paths", "classes", "proportion", "message"),
        [
            (PATHS, 5, 0.5, "4 classes at proportion 0.5, needed are 5 classes"),
            (PATHS, 4, 0.6, "needed are 4 classes at proportion 0.6"),
            (["new.jpg", *PATHS], 4, 0.5, "lacks 1 of 501 training images.*'new.jpg'"),
        ],
    )
    def test_a_mask_of_something_else_is_refused(self, file, paths, classes, proportion, message):
        shared_known_labels(file, PATHS, PATHS, 4, 0.5, 1)
        with pytest.raises(ValueError, match=message):
            shared_known_labels(file, paths, paths, classes, proportion, 1)

    def test_what_is_no_mask_is_refused(self, file):
        file.parent.mkdir()
        wrong = {"paths": np.array(PATHS), "known": np.ones((500, 4), bool), "proportion": 0.5}
        for change, message in (
            ({"paths": np.array(PATHS, dtype=object)}, "no mask of labels"),  # would be unpickled
            ({"known": np.ones((500, 4))}, "must hold paths"),
            ({"known": np.ones((499, 4), bool)}, "must hold paths"),
            ({"proportion": [0.5, 0.5]}, "must hold paths"),
        ):
            np.savez(file, **{**wrong, **change})
            with pytest.raises(ValueError, match=message):
                shared_known_labels(file, PATHS, PATHS, 4, 0.5, 1)
        del wrong["proportion"]
        np.savez(file, **wrong)
        with pytest.raises(ValueError, match="no mask of labels"):
            shared_known_labels(file, PATHS, PATHS, 4, 0.5, 1)
        for content in (b"", b"PK\3\4 damaged", b"text"):
            file.write_bytes(content)
            with pytest.raises(ValueError, match="no mask of labels"):
                shared_known_labels(file, PATHS, PATHS, 4, 0.5, 1)

    def test_the_suffix_is_checked_before_anything_is_written(self, tmp_path):
        with pytest.raises(ValueError, match=r"must end in \.npz"):
            shared_known_labels(tmp_path / "mask.txt", PATHS, PATHS, 4, 0.5, 1)
        assert not list(tmp_path.iterdir())
