from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from loading.cache.feature_cache import CachedLoader, FeatureCache, as_index_tensor, stack_views
from loading.samplers import Sample, SequentialBatchSampler
from modeling.encoders.features import Features

CPU = torch.device("cpu")
N, C, D, R = 5, 3, 8, 4
PATHS = [f"{i}.png" for i in range(N)]
DRAWS = [Sample(4, 1, 7), Sample(0, 0, 8), Sample(4, 0, 9), Sample(2, 1, 10)]


def unit(*shape):
    return F.normalize(torch.randn(shape), dim=-1)


def some_views(count, local=False, mask=False):
    return [
        Features(
            unit(N, D),
            unit(N, R, D).half() if local else None,
            torch.rand(N, R) < 0.5 if mask else None,
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize(("local", "mask"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("count", [2, 3])
def test_batches_hold_what_the_draws_name(count, local, mask):
    views, labels = some_views(count, local, mask), torch.rand(N, C)
    batch = FeatureCache(views, labels, PATHS).batch(DRAWS, as_index_tensor(DRAWS, CPU))
    for row, sample in enumerate(DRAWS):  # the slow twin: one by one
        source = views[sample.view]
        assert torch.equal(
            batch["features"].global_features[row], source.global_features[sample.index]
        )
        if local:
            expected = source.local_features[sample.index].float()
            assert torch.equal(batch["features"].local_features[row], expected)
        if mask:
            assert torch.equal(batch["features"].mask[row], source.mask[sample.index])
        assert torch.equal(batch["label"][row], labels[sample.index])
        assert batch["impath"][row] == PATHS[sample.index]
    assert batch["index"].tolist() == [4, 0, 4, 2] and batch["sample_seed"].tolist() == [
        7,
        8,
        9,
        10,
    ]
    assert (batch["features"].local_features is None) is not local
    assert (batch["features"].mask is None) is not mask


def test_stacked_views_are_taken_as_they_are():
    views = some_views(2, local=True)
    listed, stacked = (
        FeatureCache(given, torch.zeros(N, C), PATHS) for given in (views, stack_views(views))
    )
    assert len(stacked) == N
    indices = as_index_tensor(DRAWS, CPU)
    one, other = (cache.batch(DRAWS, indices)["features"] for cache in (listed, stacked))
    assert torch.equal(one.global_features, other.global_features)
    assert torch.equal(one.local_features, other.local_features)


def test_a_single_view_is_not_copied():
    (view,) = some_views(1, local=True)
    stacked = stack_views([view])
    assert stacked.local_features.shape == (1, N, R, D)
    assert stacked.local_features.data_ptr() == view.local_features.data_ptr()


def test_a_view_that_is_not_there_is_an_error():
    cache = FeatureCache(some_views(1), torch.zeros(N, C), PATHS)
    samples = [Sample(0, view=1)]
    with pytest.raises(IndexError):
        cache.batch(samples, as_index_tensor(samples, CPU))


class TestCachedLoader:
    def make(self):
        self.calls = getattr(self, "calls", 0) + 1
        return FeatureCache(some_views(1), torch.zeros(N, C), PATHS)

    def test_nothing_is_made_before_it_is_needed_nor_twice(self):
        loader = CachedLoader(self.make, SequentialBatchSampler(N, 2))
        assert len(loader) == 3 and not hasattr(self, "calls")
        assert [batch["index"].tolist() for batch in loader] == [[0, 1], [2, 3], [4]]
        list(loader)
        assert self.calls == 1
