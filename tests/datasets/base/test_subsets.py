from __future__ import annotations

import numpy as np
import pytest

from common.sparse_targets import SparseTargets
from datasets.base.subsets import few_shot, hold_out, path_draws


def long_tail(images: int = 300, classes: int = 12, seed: int = 0):
    """Return paths and targets [N, C] with a long tail, co-occurring labels and unlabelled rows."""
    rng = np.random.default_rng(seed)
    shares = 0.8 * 0.6 ** np.arange(classes)
    targets = (rng.random((images, classes)) < shares).astype(np.float32)
    targets[:, -1] = 0
    targets[7, -1] = 1  # a class with one image
    targets[[3, 9], :] = 0
    return [f"pictures/{i}.jpg" for i in range(images)], targets


def on_any_order(choose, paths, targets, *rest):
    """Return the choice as a set of paths; the order of the list must not matter to it."""
    found = choose(paths, SparseTargets.from_matrix(targets), *rest)
    chosen = {path for path, c in zip(paths, found, strict=True) if c}
    order = np.random.default_rng(5).permutation(len(paths))
    again = choose([paths[i] for i in order], SparseTargets.from_matrix(targets[order]), *rest)
    assert chosen == {paths[i] for i, c in zip(order, again, strict=True) if c}
    return chosen


class TestDraws:
    def test_a_function_of_seed_purpose_and_path(self):
        first = path_draws(["a", "b"], 3, 1, "x")
        assert first.shape == (2, 3) and len(np.unique(first)) == 6
        assert np.array_equal(path_draws(["b", "c", "a"], 3, 1, "x")[[2, 0]], first)
        for other in (path_draws(["a", "b"], 3, 2, "x"), path_draws(["a", "b"], 3, 1, "y")):
            assert not np.isin(first, other).any()
        assert np.array_equal(path_draws(["a", "b"], 2, 1, "x"), first[:, :2])

    def test_uniform(self):
        draws = path_draws([str(i) for i in range(2000)], 5, 0, "x")
        assert draws.min() >= 0 and draws.max() < 1
        assert np.allclose(np.histogram(draws, 10, (0, 1))[0] / draws.size, 0.1, atol=0.015)
        assert np.abs(np.corrcoef(draws.T) - np.eye(5)).max() < 0.1

    def test_the_same_on_every_machine(self):
        expected = [0.97246965, 0.46771835]  # shake_256, little-endian words
        assert np.allclose(path_draws(["pictures/a.jpg"], 2, 1, "labels")[0], expected)


def naive_few_shot(paths, targets, shots, seed):
    """Return the paths chosen by loops over dictionaries, after the docstring."""
    draw = dict(zip(paths, path_draws(paths, 1, seed, "few-shot")[:, 0], strict=True))
    labels = {p: {c for c, y in enumerate(row) if y} for p, row in zip(paths, targets, strict=True)}
    classes = range(targets.shape[1])
    total = {c: sum(c in labels[p] for p in paths) for c in classes}
    chosen = set()

    def served(c, images):
        return sum(c in labels[p] for p in images) >= min(shots, total[c])

    for c in sorted(classes, key=lambda c: (total[c], c)):
        while not served(c, chosen):
            free = [p for p in paths if c in labels[p] and p not in chosen]
            chosen.add(
                min(free, key=lambda p: (sum(served(k, chosen) for k in labels[p]), draw[p]))
            )
    for path in sorted(chosen, key=draw.get):
        if all(served(c, chosen - {path}) for c in classes):
            chosen.remove(path)
    return chosen


class TestFewShot:
    @pytest.mark.parametrize("shots", [1, 2, 5])
    def test_against_loops(self, shots):
        for seed in range(8):
            paths, targets = long_tail(60, 8, seed)
            if seed % 2:  # many labels an image: some images turn out superfluous
                targets[:, :-1] = np.random.default_rng(seed).random((60, 7)) < 0.4
            found = few_shot(paths, SparseTargets.from_matrix(targets), shots, seed)
            assert {p for p, c in zip(paths, found, strict=True) if c} == naive_few_shot(
                paths, targets, shots, seed
            )

    @pytest.mark.parametrize("shots", [1, 2, 4, 16, 1000])
    @pytest.mark.parametrize("seed", range(5))
    def test_every_class_is_served_and_no_image_can_be_spared(self, shots, seed):
        paths, targets = long_tail(seed=seed)
        chosen = few_shot(paths, SparseTargets.from_matrix(targets), shots, seed)
        wanted = np.minimum(targets.sum(axis=0), shots)
        held = targets[chosen].sum(axis=0)
        assert (held >= wanted).all()
        for image in np.flatnonzero(chosen):
            assert (held - targets[image] < wanted).any()
        assert targets[chosen].any(axis=1).all()

    def test_few_classes_exceed_their_shots(self):
        """Taking random images of each class until it has its shots is the naive alternative."""
        paths, targets = long_tail()
        wanted = np.minimum(targets.sum(axis=0), 4)
        naive_sizes, rng = [], np.random.default_rng(0)
        for _ in range(20):
            naive = np.zeros(len(paths), dtype=bool)
            for label in np.argsort(targets.sum(axis=0)):
                while targets[naive, label].sum() < wanted[label]:
                    naive[rng.choice(np.flatnonzero(targets[:, label]))] = True
            naive_sizes.append(targets[naive].sum() - wanted.sum())
        chosen = few_shot(paths, SparseTargets.from_matrix(targets), 4, 0)
        assert targets[chosen].sum() - wanted.sum() < min(naive_sizes)

    def test_depends_on_the_seed_not_on_the_order(self):
        paths, targets = long_tail()
        choices = [on_any_order(few_shot, paths, targets, 4, seed) for seed in (0, 0, 1)]
        assert choices[0] == choices[1] != choices[2]


def naive_hold_out(paths, targets, fraction, seed):
    """Return the paths held out by loops over dictionaries, after the paper's pseudocode."""
    draw = dict(zip(paths, path_draws(paths, 1, seed, "hold-out")[:, 0], strict=True))
    labels = {p: {c for c, y in enumerate(row) if y} for p, row in zip(paths, targets, strict=True)}
    parts = {"train": set(), "val": set()}
    share = {"train": 1 - fraction, "val": fraction}

    def count(images, label):
        return sum(label in labels[p] for p in images)

    def lacking(part, label):
        return share[part] * count(paths, label) - count(parts[part], label)

    def lacking_images(part):
        return share[part] * len(paths) - len(parts[part])

    left = set(paths)
    while left:
        remaining = {c: count(left, c) for c in range(targets.shape[1])}
        remaining = {c: n for c, n in remaining.items() if n}
        rarest = min(remaining, key=lambda c: (remaining[c], c)) if remaining else None
        for path in sorted(
            (p for p in left if rarest is None or rarest in labels[p]), key=draw.get
        ):
            need = {
                part: (0 if rarest is None else lacking(part, rarest), lacking_images(part))
                for part in parts
            }
            empties = any(count(paths, c) - count(parts["val"], c) == 1 for c in labels[path])
            parts["val" if need["val"] > need["train"] and not empties else "train"].add(path)
            left.remove(path)
    return parts["val"]


class TestHoldOut:
    @pytest.mark.parametrize("fraction", [0.11, 0.25, 0.47, 0.5, 0.71])
    def test_against_the_papers_pseudocode(self, fraction):
        for seed in range(3):
            paths, targets = long_tail(80, 6, seed)
            held = hold_out(paths, SparseTargets.from_matrix(targets), fraction, seed)
            found = {path for path, h in zip(paths, held, strict=True) if h}
            assert found == naive_hold_out(paths, targets, fraction, seed)

    @pytest.mark.parametrize("fraction", [0.05, 0.1, 0.2, 0.5, 0.95])
    @pytest.mark.parametrize("seed", range(3))
    def test_sizes_and_no_class_emptied(self, fraction, seed):
        paths, targets = long_tail(seed=seed)
        held = hold_out(paths, SparseTargets.from_matrix(targets), fraction, seed)
        present = targets.any(axis=0)
        assert targets[~held][:, present].any(axis=0).all()
        assert not targets[held, -1].any()  # the only image of its class
        assert abs(held.sum() - fraction * len(paths)) <= 0.05 * len(paths)

    @pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
    def test_proportions_are_kept_better_than_by_chance(self, fraction):
        paths, targets = long_tail(seed=1)
        counts = targets.sum(axis=0)

        def deviation(held):
            return np.abs(targets[held].sum(axis=0) - fraction * counts).mean()

        rng = np.random.default_rng(0)
        chance = [deviation(rng.random(len(paths)) < fraction) for _ in range(50)]
        found = [
            deviation(hold_out(paths, SparseTargets.from_matrix(targets), fraction, seed))
            for seed in range(5)
        ]
        assert max(found) < min(chance)

    def test_depends_on_the_seed_not_on_the_order(self):
        paths, targets = long_tail()
        choices = [on_any_order(hold_out, paths, targets, 0.2, seed) for seed in (0, 0, 1)]
        assert choices[0] == choices[1] != choices[2]

    def test_unlabelled_images_are_shared_out_too(self):
        targets = np.zeros((40, 3), np.float32)
        targets[:10, 0] = 1
        held = hold_out([str(i) for i in range(40)], SparseTargets.from_matrix(targets), 0.25, 0)
        assert 1 <= held[:10].sum() <= 4 and 6 <= held[10:].sum() <= 9
