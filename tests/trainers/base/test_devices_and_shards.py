"""One result whatever computes it: a GPU or a CPU, one batch or parts of it."""

from __future__ import annotations

import pytest
import torch

import train
from modeling.encoders.features import Features
from tests.helpers.models.small_trainer import build, write_calm_set
from tests.helpers.sets.small_set import arguments, contexts, results, write_set

METHODS = {  # words beside the method's name
    **dict.fromkeys(["CoOp", "LMPT", "DualCoOp", "PVLR"], ()),
    # What is dropped depends on the batch.
    "TARP": ("TRAINER.TARP.ADAPTER", "6", "TRAINER.TARP.ADAPTER_DROPOUT", "0.0"),
}


def gradients(trainer, batch, rows):
    """Gradients of the loss on some rows of a batch, for every trained tensor."""
    views, targets = trainer.parse_batch_train(batch)
    trainer.step(views[rows], targets[rows], batch["index"][rows], batch["sample_seed"][rows])
    trained = [p for p in trainer.model.learner.parameters() if p.requires_grad]
    return [p.grad.clone() for p in trained if p.grad is not None]


@pytest.mark.parametrize("name", METHODS)
def test_the_mean_gradient_of_equal_shards_is_the_batchs(name, tmp_path):
    write_calm_set(tmp_path / "data")
    words = ("TRAINER.LOSS.NAME", "asl", *METHODS[name])
    trainer = build(tmp_path / "data", name, tmp_path / "out", *words)
    trainer.batch_idx, trainer.num_batches = 0, 2
    batch = next(iter(trainer.train_loader_x))
    whole = gradients(trainer, batch, torch.arange(8))
    shards = [gradients(trainer, batch, rows) for rows in torch.arange(8).split(2)]
    for expected, *parts in zip(whole, *shards, strict=True):
        found = torch.stack(parts).mean(dim=0)
        scale = float(expected.abs().max())
        torch.testing.assert_close(found, expected, atol=1e-4 * scale + 1e-9, rtol=0)


def test_features_do_not_depend_on_the_batch(tmp_path):
    write_set(tmp_path / "data")
    trainer = build(tmp_path / "data", "DualCoOp", tmp_path / "out")
    images = torch.rand(6, 3, 32, 32)
    with torch.no_grad():
        whole = trainer.clip.encode_images(images)
        parts = [trainer.clip.encode_images(part) for part in images.split((1, 3, 2))]
    shards = Features(
        torch.cat([part.global_features for part in parts]),
        torch.cat([part.local_features for part in parts]),
    )
    for name in ("global_features", "local_features"):
        torch.testing.assert_close(getattr(shards, name), getattr(whole, name), atol=1e-5, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["CoOp", "LMPT"])
def test_a_gpu_run_ends_as_a_cpu_run_does(name, tmp_path):
    write_set(tmp_path / "data")
    for device in ("True", "False"):
        train.main(arguments(tmp_path / "data", name, tmp_path / device, "USE_CUDA", device))
    torch.testing.assert_close(
        contexts(tmp_path / "True").cpu(), contexts(tmp_path / "False").cpu(), atol=1e-3, rtol=0
    )
    on_gpu, on_cpu = (results(tmp_path / device)["metrics"]["mAP"] for device in ("True", "False"))
    assert on_gpu == pytest.approx(on_cpu, abs=0.01)
