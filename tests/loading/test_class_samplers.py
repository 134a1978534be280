from __future__ import annotations

import numpy as np
import pytest

from loading.class_samplers import ClassAwareBatchSampler, make_sampler


@pytest.mark.parametrize("sampler", ["random", "class_aware", "balanced"])
def test_draws_among_the_cached_views(sampler):
    labels = [np.eye(2, dtype=np.float32)[i % 2] for i in range(4000)]
    sampler = make_sampler(sampler, labels, 100, seed=1, flip=0.5, views=4)
    seen = np.bincount([sample.view for batch in sampler for sample in batch], minlength=4)
    assert len(seen) == 4 and (abs(seen / sampler.size - 0.25) < 0.05).all()


class TestClassAwarePlan:
    LABELS = [np.eye(3, dtype=np.float32)[0]] * 80 + [np.array([1, 1, 0], np.float32)] * 8
    LABELS += [np.array([0, 0, 1], np.float32)] * 2

    def shown(self, epoch=0):
        sampler = make_sampler("class_aware", self.LABELS, 10, seed=1, flip=0.5)
        sampler.epoch = epoch
        return sampler, [sample.index for batch in sampler for sample in batch]

    def test_length_and_balance_are_the_papers(self):
        sampler, shown = self.shown()
        assert len(shown) == sampler.size == 88 * 3 // 4 and len(sampler) == 7
        visits = np.array([[(np.array(self.LABELS)[i] == 1) for i in shown]]).sum(axis=(0, 1))
        assert abs(visits[2] - len(shown) / 3) <= 3  # two images carry a third of the epoch
        assert len({i for i in shown if i < 80}) == sum(i < 80 for i in shown)  # none twice

    def test_repeats_by_epoch_and_differs_between_them(self):
        assert self.shown(2)[1] == self.shown(2)[1] != self.shown(3)[1]

    def test_classes_without_images_are_passed_over(self):
        sampler = ClassAwareBatchSampler([np.array([1, 0], np.float32)] * 8, 4, 0)
        assert {sample.index for batch in sampler for sample in batch} <= set(range(8))

    def test_images_without_any_class_are_refused(self):
        with pytest.raises(ValueError, match="no training image has one.*set it to random"):
            ClassAwareBatchSampler([np.zeros(2, np.float32)] * 8, 4, 0)

    def test_unknown_samplers_are_refused(self):
        with pytest.raises(ValueError, match="random, class_aware, balanced, got 'even'"):
            make_sampler("even", self.LABELS, 4, 0, 0.0)


class TestBalancedPlan:
    LABELS = np.array([[1, 0, 0]] * 6 + [[1, 1, 0]] * 2 + [[0, 1, -1], [0, 0, 1], [0, 0, 0]])

    def naive_shares(self, power):
        """(sum of N / n_c over an image's classes) ** power, image by image, over their sum."""
        weights = []
        for row in self.LABELS:
            total = 0.0
            for c, label in enumerate(row):
                if label == 1:
                    total += len(self.LABELS) / sum(1 for other in self.LABELS if other[c] == 1)
            weights.append(total**power)
        return [weight / sum(weights) for weight in weights]

    @pytest.mark.parametrize("power", [0.0, 0.7, 1.0, 1.6])
    def test_shares_are_those_of_a_loop(self, power):
        sampler = make_sampler("balanced", list(self.LABELS), 4, 1, 0.0, power=power)
        assert sampler.shares.tolist() == pytest.approx(self.naive_shares(power))

    def test_images_come_as_often_as_their_shares_say(self):
        sampler = make_sampler("balanced", list(self.LABELS), 4, seed=1, flip=0.5)
        shown = []
        for sampler.epoch in range(600):
            batches = list(sampler)
            assert [len(batch) for batch in batches] == [4, 4, 3] and len(sampler) == 3
            shown += [sample.index for batch in batches for sample in batch]
        found = np.bincount(shown, minlength=len(self.LABELS)) / len(shown)
        expected = np.array(self.naive_shares(1.0))
        assert (abs(found - expected) < 5 * np.sqrt(expected / len(shown)) + 1e-12).all()
        assert found[-1] == 0  # it has no class

    def test_a_large_power_overflows_nothing(self):
        sampler = make_sampler("balanced", list(self.LABELS), 4, 1, 0.0, power=500.0)
        assert np.isfinite(sampler.shares).all() and sampler.shares.argmax() == 9

    def test_images_without_any_class_are_refused(self):
        with pytest.raises(ValueError, match="balanced draws images by .*set it to random"):
            make_sampler("balanced", [np.zeros(2, np.float32)] * 8, 4, 0, 0.0)
