"""Classes of a training step, against whole numbers in plain Python."""

from __future__ import annotations

import torch

from modeling.prompts.class_draw import draw_classes


def scrambled(number):
    for _ in range(2):
        number = (number ^ number // 2**16) * 73244475 % 2**32
    return number ^ number // 2**16


def naive_draw(seeds, known, count):
    """One class at a time: the smallest key that is left, known ones first."""
    start = scrambled(sum(seeds) % 2**32)
    left = {c: (not known[c], scrambled(start + c)) for c in range(len(known))}
    drawn = []
    for _ in range(count):
        drawn.append(min(left, key=left.get))
        del left[drawn[-1]]
    return drawn


def batch(seed, size=32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2**31, (size,), generator=generator)


def test_equals_the_naive_draw():
    known = torch.rand(925, generator=torch.Generator().manual_seed(3)) < 0.3
    for seed, count in ((1, 100), (2, 400), (3, 925), (4, 1)):
        seeds = batch(seed)
        drawn = draw_classes(seeds, known, count).tolist()
        assert drawn == naive_draw(seeds.tolist(), known.tolist(), count)
    assert known[draw_classes(batch(1), known, 100)].all()


def test_every_class_and_pair_is_drawn_about_equally_often():
    steps, classes, count = 4000, 12, 3
    together = torch.zeros(classes, classes)
    for seed in range(steps):
        row = torch.zeros(classes)
        row[draw_classes(batch(seed), torch.ones(classes, dtype=torch.bool), count)] = 1
        together += torch.outer(row, row)
    alone, pairs = together.diagonal() / steps, together / steps
    assert (alone - count / classes).abs().max() < 0.04  # 5 standard deviations
    expected = count * (count - 1) / (classes * (classes - 1))
    apart = ~torch.eye(classes, dtype=torch.bool)
    assert (pairs[apart] - expected).abs().max() < 0.02
