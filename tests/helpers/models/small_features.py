"""Features of a few images, for the cache's tests."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from modeling.encoders.features import Features

CPU = torch.device("cpu")
V, N, R, D = 2, 7, 4, 6
KEY = {"files": "abc", "views": "plain, mirrored"}


def features(local=True, mask=False):
    """Features [V, N, ...], always the same."""
    generator = torch.Generator().manual_seed(3)
    sample = lambda *shape: F.normalize(torch.randn(shape, generator=generator), dim=-1)  # noqa: E731
    return Features(
        sample(V, N, D),
        sample(V, N, R, D) if local else None,
        torch.rand(V, N, R, generator=generator) < 0.5 if mask else None,
    )


def write_from(source, write):
    """Batches of three, views in turn, as encoding gives them."""
    for first in range(0, N, 3):
        for view in range(V):
            rows = torch.arange(first, min(first + 3, N))
            write(
                view,
                first,
                Features(
                    *(
                        None if t is None else t[view, rows]
                        for t in (source.global_features, source.local_features, source.mask)
                    )
                ),
            )


def encode_into(write):
    write_from(features(), write)


def refuse(write):
    raise AssertionError("encoded although the file was there")


def same(one, other):
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all((a is None and b is None) or torch.equal(a, b) for a, b in pairs)
