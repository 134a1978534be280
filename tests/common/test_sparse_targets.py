"""Targets as ids: the same as the matrix they stand for."""

from __future__ import annotations

import numpy as np
import torch

from common.sparse_targets import ClassLists, SparseTargets

PRESENT = [(2, 0), (), (1,), (3, 1, 0)]
UNKNOWN = [(1,), (0,), (), (3,)]  # the last image's class 3 is both, and so unknown
MATRIX = np.array([[1, -1, 1, -1], [-1, 0, 0, -1], [0, 1, 0, -1], [1, 1, 0, -1]], np.float32)


def targets():
    return SparseTargets(ClassLists.of(PRESENT), 4, ClassLists.of(UNKNOWN), hidden=[3])


def test_rows_are_those_of_the_matrix():
    sparse = targets()
    assert sparse.shape == (4, 4) and np.array_equal(sparse.dense(), MATRIX)
    index = torch.tensor([3, 0, 0])
    assert torch.equal(sparse[index], torch.tensor(MATRIX)[index])
    assert torch.equal(sparse[-2], torch.tensor(MATRIX[2])) and sparse[1].dtype is torch.float32
    assert np.array_equal(sparse.take(np.array([2, 1])).dense(), MATRIX[[2, 1]])


def test_counts_leave_unknown_labels_out():
    sparse, present = targets(), MATRIX == 1
    assert sparse.counts().tolist() == present.sum(0).tolist()
    assert sparse.sizes().tolist() == present.sum(1).tolist()
    assert sparse.num_known() == (MATRIX >= 0).sum()
    members = [rows.tolist() for rows in sparse.members()]
    assert members == [np.flatnonzero(column).tolist() for column in present.T]


def test_matrices_and_masks():
    matrix = np.random.default_rng(0).integers(0, 2, (9, 5))
    sparse = SparseTargets.from_matrix(matrix)
    assert np.array_equal(sparse.dense(), matrix)
    mask = np.random.default_rng(1).random((9, 5)) < 0.5
    assert np.array_equal(sparse.with_unknown(mask).dense(), np.where(mask, -1, matrix))


def test_renamed_classes():
    lists = ClassLists.of(PRESENT).renamed(np.array([5, -1, 0, 1]))
    found = [lists.classes(image).tolist() for image in range(4)]
    assert found == [[0, 5], [], [], [1, 5]]
