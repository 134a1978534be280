from __future__ import annotations

import numpy as np
import pytest
import torch

from evaluation.results.saved_scores import load_scores, save_scores


def test_scores_load_without_pickle(tmp_path):
    scores, targets = torch.randn(4, 3).double(), torch.tensor([[1, 0, -1]] * 4)
    paths = ["a.jpg", "straße/b.jpg", "c.jpg", "d.jpg"]
    save_scores(tmp_path / "scores.npz", scores.requires_grad_(), targets, paths)
    saved = load_scores(tmp_path / "scores.npz")
    torch.testing.assert_close(saved.logits, scores.detach().float())
    assert torch.equal(saved.targets, targets.to(torch.int8)) and saved.paths == paths
    with np.load(tmp_path / "scores.npz", allow_pickle=False) as file:
        assert set(file) == {"scores", "targets", "paths"}
        np.testing.assert_array_equal(file["scores"], scores.detach().float().numpy())
        np.testing.assert_array_equal(file["targets"], targets.numpy())
        assert file["paths"].tolist() == paths
        assert (file["scores"].dtype, file["targets"].dtype) == (np.float32, np.int8)


def test_scores_shapes(tmp_path):
    with pytest.raises(ValueError, match=r"\[4, 3\], \[4, 3\] and 2"):
        save_scores(tmp_path / "s.npz", torch.zeros(4, 3), torch.zeros(4, 3), ["a", "b"])
    with pytest.raises(ValueError, match=r"\[4, 3\], \[4, 2\] and 4"):
        save_scores(tmp_path / "s.npz", torch.zeros(4, 3), torch.zeros(4, 2), ["a"] * 4)


def test_scores_that_do_not_belong_together_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="TEST.SAVE_SCORES all"):
        load_scores(tmp_path / "scores.npz")
    arrays = {"scores": np.zeros((4, 3)), "targets": np.zeros((4, 2)), "paths": np.array(["a"])}
    np.savez(tmp_path / "scores.npz", **arrays)
    with pytest.raises(ValueError, match=r"got \[4, 3\], \[4, 2\] and \[1\]"):
        load_scores(tmp_path / "scores.npz")
