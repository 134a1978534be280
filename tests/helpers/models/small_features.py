"""Features of a few images, for the cache's tests."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
import torch.nn.functional as F

from modeling.encoders.features import Features

CPU = torch.device("cpu")
V, N, R, D = 2, 7, 4, 6
KEY = {"code": "abc", "views": "plain, mirrored"}


def digests(*numbers):
    """Digests of pictures, uint8 [N, 16], that numbers stand for."""
    found = b"".join(hashlib.md5(str(number).encode()).digest() for number in numbers)
    return np.frombuffer(found, dtype=np.uint8).reshape(-1, 16)


PICTURES = digests(*range(N))


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


def encode_places(places, write):
    """Of the pictures at some places, in batches of three."""
    source, places = features(), torch.as_tensor(places)
    for first in range(0, len(places), 3):
        for view in range(V):
            rows = places[first : first + 3]
            parts = (source.global_features[view, rows], source.local_features[view, rows])
            write(view, first, Features(*parts))


def refuse(*_):
    raise AssertionError("encoded although the file was there")


def same(one, other):
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all((a is None and b is None) or torch.equal(a, b) for a, b in pairs)
