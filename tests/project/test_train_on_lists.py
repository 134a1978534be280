"""Whole runs of train.py on subsets, on partial labels, and on real pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import train
from tests.helpers.models.small_clip import openai_weights, random_clip
from tests.helpers.sets.small_set import TRAIN, arguments, contexts, results, write_set

DATA = Path(os.environ.get("LMPT_REAL_DATA", "data"))


@pytest.fixture
def root(tmp_path):
    write_set(tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("trainer", ["CoOp", "LMPT"])
def test_partial_labels_train_and_tell_another_story(trainer, root, tmp_path):
    found = {}
    for proportion in ("1.0", "0.5"):
        more = ("DATASET.LABEL_PROPORTION", proportion)
        train.main(arguments(root, trainer, tmp_path / proportion, *more))
        found[proportion] = contexts(tmp_path / proportion)
        assert torch.isfinite(found[proportion]).all()
    assert not torch.equal(found["1.0"], found["0.5"])
    counts = [
        np.array([row["train_count"] for row in results(tmp_path / p)["per_class"]])
        for p in ("1.0", "0.5")
    ]
    assert (counts[1] <= counts[0]).all() and 0.25 < counts[1].sum() / counts[0].sum() < 0.75
    assert "of the training images' labels are known" in (tmp_path / "0.5" / "log.txt").read_text()
    metrics = results(tmp_path / "0.5")["metrics"]
    assert metrics["mAP"] > 0 and len(results(tmp_path / "0.5")["per_class"]) == 4


@pytest.mark.parametrize(
    ("trainer", "loss"),
    [
        ("LMPT", "db"),
        *(("CoOp", loss) for loss in ("bce", "asl", "focal", "db", "cb_ntr", "ranking")),
    ],
)
def test_labels_that_are_not_known_move_nothing(trainer, loss, root, tmp_path):
    """Where nothing is known about an image it must not matter what the list says of it."""
    mask = tmp_path / "mask.npz"
    paths = [f"pictures/train{i}.png" for i in range(TRAIN)]
    known = np.random.default_rng(0).random((TRAIN, 4)) < 0.5
    np.savez(mask, paths=np.array(paths), known=known, proportion=0.5)
    more = ("DATASET.LABEL_PROPORTION", "0.5", "DATASET.LABEL_MASK", str(mask))
    more += ("TRAINER.LOSS.NAME", loss)
    train.main(arguments(root, trainer, tmp_path / "a", *more))
    rows = (root / "mine" / "train.txt").read_text().splitlines()
    changed = []
    for row, certain in zip(rows, known, strict=True):
        path, *labels = row.split()
        flipped = {c for c in range(4) if (str(c) in labels) == bool(certain[c])}
        changed.append(" ".join([path, *map(str, sorted(flipped))]))
    assert changed != [" ".join([r.split()[0], *sorted(r.split()[1:])]) for r in rows]
    (root / "mine" / "train.txt").write_text("\n".join(changed))
    train.main(arguments(root, trainer, tmp_path / "b", *more))
    assert torch.equal(contexts(tmp_path / "a"), contexts(tmp_path / "b"))


def test_a_hold_out_selects_the_best_epoch(root, tmp_path):
    more = ("DATASET.VAL_FRACTION", "0.3", "TEST.FINAL_MODEL", "best_val")
    train.main(arguments(root, "LMPT", tmp_path / "out", *more))
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "val is a stratified hold-out" in log and "Evaluate on the *val* set" in log
    assert results(tmp_path / "out")["split"] == "test"
    assert (tmp_path / "out" / "prompt_learner" / "model-best.pth.tar").is_file()


def test_few_shots(root, tmp_path):
    train.main(arguments(root, "LMPT", tmp_path / "out", "DATASET.NUM_SHOTS", "2"))
    counts = [row["train_count"] for row in results(tmp_path / "out")["per_class"]]
    assert min(counts) == 2 and sum(counts) < 2 * TRAIN


def test_unknown_transforms_are_refused_before_anything_is_read(tmp_path):
    more = ("INPUT.TRANSFORMS", "('random_flip','normalise')")
    with pytest.raises(ValueError, match=r"got 'normalise'. Did you mean 'normalize'\?"):
        train.main(arguments(tmp_path / "nowhere", "CoOp", tmp_path / "out", *more))


@pytest.mark.parametrize("names", ["('random_resized_crop','cutout')", "('gaussian_blur',)"])
def test_our_transforms_and_dassls_train(names, root, tmp_path):
    train.main(arguments(root, "CoOp", tmp_path / "out", "INPUT.TRANSFORMS", names))
    assert torch.isfinite(contexts(tmp_path / "out")).all()


def test_a_broken_picture_stops_the_run_with_its_name(root, tmp_path):
    from loading.images import PictureError

    (root / "mine" / "pictures" / "train3.png").write_bytes(b"")
    with pytest.raises(PictureError, match=r"train3\.png: the file is empty"):
        train.main(arguments(root, "CoOp", tmp_path / "out"))


@pytest.mark.parametrize("trainer", ["LMPT", "ZeroshotCLIP"])
def test_voc_lt_with_the_real_pictures_at_hand(trainer, tmp_path):
    if not (DATA / "voc" / "VOCdevkit").is_dir():
        pytest.skip(f"no pictures in {DATA / 'voc'}; set LMPT_REAL_DATA to the folder above voc")
    (tmp_path / "mine").mkdir()
    torch.save(openai_weights(random_clip()), tmp_path / "mine" / "clip.pt")
    command = arguments(tmp_path, trainer, tmp_path / "out")
    command[command.index("--root") + 1] = str(DATA)
    command[command.index("DATASET.NAME") + 1] = "VOCLT"
    train.main([*command, "DATASET.MISSING", "skip", "OPTIM.MAX_EPOCH", "2"])
    found = results(tmp_path / "out")
    assert found["dataset"] == "VOCLT" and len(found["per_class"]) == 20
    assert 0 < found["metrics"]["mAP"] <= 100
    assert "absent pictures skipped" in (tmp_path / "out" / "log.txt").read_text()
