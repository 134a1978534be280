from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from evaluation.average_precision import average_precision
from scripts import bench, bench_sides
from scripts.bench_data import BENCHMARKS, GEOMETRIES, write_set
from scripts.bench_measure import Meter, operations
from scripts.bench_naive import growing_average_precision
from scripts.bench_sides import Setting, build_naive, build_ours
from tests.small_clip import RESOLUTION, random_clip

NAMES = ("cat", "traffic light", "diningtable", "tv_monitor", "dog")


@pytest.fixture
def setting(tmp_path, tower):
    write_set(tmp_path / "data", NAMES, train=24, test=10)
    weights = tmp_path / "clip.safetensors"
    state_dict = random_clip(tower).state_dict()
    save_file({name: value.contiguous() for name, value in state_dict.items()}, weights)
    benchmark = replace(BENCHMARKS[20], names=NAMES)
    side = RESOLUTION[tower]
    device = torch.device("cpu")
    return Setting(tmp_path / "data", str(weights), side, benchmark, device, "fp32", 8)


@pytest.fixture
def trainer(setting, tmp_path):
    return build_ours(setting, tmp_path / "out")


def test_both_sides_train_alike(setting, trainer):
    """The naive twin computes what our trainer computes: losses, gradients and updates."""
    trainer.before_train()
    naive = build_naive(setting, trainer)
    start = trainer.prompt_learner.ctx.detach().clone()
    trainer.set_model_mode("train")
    trainer.batch_idx, trainer.num_batches = 0, 100
    plan = list(trainer.train_plan)
    assert any(draw.view for draws in plan for draw in draws)  # some are mirrored
    for draws, batch in zip(plan, trainer.train_loader_x, strict=True):
        rows = [draw.index for draw in draws]
        paths = [trainer.dm.dataset.train_x[row].impath for row in rows]
        theirs = naive.step(paths, rows, [draw.view == 1 for draw in draws])
        ours = trainer.forward_backward(batch)["loss"]
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
        gradients = trainer.prompt_learner.ctx.grad, naive.contexts.grad
        scale = gradients[1].abs().max()
        assert scale > 0
        torch.testing.assert_close(*gradients, rtol=0, atol=5e-4 * float(scale))
    ours, theirs = (ctx.detach() - start for ctx in (trainer.prompt_learner.ctx, naive.contexts))
    assert theirs.abs().max() > 1e-3
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3 * float(theirs.abs().max()))


def test_both_losses_are_alike_one_by_one(setting, trainer):
    naive = build_naive(setting, trainer)
    batch = next(iter(trainer.train_loader_x))
    rows = batch["index"]
    views, targets = trainer.parse_batch_train(batch)
    text_features = trainer.text_features()
    logits = trainer.compute_logits(views, text_features)
    ours = trainer.compute_loss(logits, targets, {**batch, "text_features": text_features})
    torch.testing.assert_close(
        ours["loss_cls"], naive.classification_loss(logits, targets), rtol=1e-5, atol=0
    )
    theirs = naive.embedding_loss(targets, naive.captions[rows])
    torch.testing.assert_close(ours["loss_cse"], theirs, rtol=1e-5, atol=0)


def test_both_evaluations_are_alike(setting, trainer):
    naive = build_naive(setting, trainer)
    trainer.test("test")
    tests = trainer.dm.dataset.test
    scores = naive.scores([item.impath for item in tests], batch_size=4)
    logits = torch.as_tensor(np.asarray(trainer.evaluator.logits))
    np.testing.assert_allclose(scores, logits.softmax(dim=1).numpy(), atol=1e-5)
    targets = np.stack([item.label for item in tests])
    ours = average_precision(torch.as_tensor(scores), torch.as_tensor(targets)).mean()
    assert growing_average_precision(scores, targets, 4) == pytest.approx(float(ours), abs=1e-6)


def test_the_set_has_pictures_of_vocs_size_and_every_class(tmp_path):
    names = BENCHMARKS[80].names
    assert len(set(names)) == 80 and len(set(BENCHMARKS[20].names)) == 20
    write_set(tmp_path, names, train=32, test=8)
    folder = tmp_path / "pictures"
    files = sorted((folder / "jpeg").iterdir())
    assert len(files) == 40 and Image.open(files[0]).size == (500, 375)
    assert 60e3 < np.mean([file.stat().st_size for file in files]) < 70e3
    for split in ("train", "test"):
        rows = (folder / f"{split}.txt").read_text().split("\n")[:-1]
        assert {int(label) for row in rows for label in row.split()[1:]} == set(range(80))
    again = tmp_path / "again"
    write_set(again, names, train=32, test=8)
    assert files[3].read_bytes() == (again / "pictures/jpeg" / files[3].name).read_bytes()


def test_the_published_sizes_are_those_of_the_published_names():
    assert [sizes[0] for sizes in GEOMETRIES.values()] == [512, 1024]
    assert all(sizes[5:] == (77, 49408, 512, 8, 12) for sizes in GEOMETRIES.values())


def test_operations_are_counted():
    a, b = torch.randn(3, 4), torch.randn(4, 5, requires_grad=True)
    assert operations(lambda: (a @ b).sum()) == 2 * 3 * 4 * 5
    assert operations(lambda: torch.autograd.grad((a @ b).sum(), b)) == 2 * 2 * 3 * 4 * 5


def test_memory_is_what_a_call_holds_at_its_peak():
    meter = Meter(torch.device("cpu"), 0.01)
    with meter.memory() as memory:
        torch.ones(30, 2**20).sum()  # 120 MiB, freed again
    if memory.peak is None:
        pytest.skip("this system does not tell")
    assert 110 < memory.peak / 2**20 < 180
    assert meter.median(lambda: None) < 0.01 < meter.once(lambda: __import__("time").sleep(0.02))


def test_quick_prints_every_row(capsys, monkeypatch):
    monkeypatch.setattr(bench_sides, "EPOCHS", 2)
    bench.main(["--quick", "--seconds", "0.01", "--markdown", "--whole-run"])
    shown = capsys.readouterr().out
    table = [line.split("|")[1:-1] for line in shown.splitlines() if line.startswith("|")]
    rows = {cells[1].split(",")[0].strip(): [cell.strip() for cell in cells] for cells in table[2:]}
    assert set(rows) == {
        *("step", "epoch", "cache", "evaluation", "run", "memory of a step", "average precision")
    }
    assert len(table) == 2 + len(rows) + 1  # the run twice: computed and measured
    assert float(rows["step"][4].replace(",", "")) > 1
    assert all(re.fullmatch(r"[\d.]+ m?s", cell) for cell in rows["step"][5:])
    assert "fp32" in shown and "Steps are of 8 images" in shown


def test_what_cannot_be_measured_is_refused(capsys, monkeypatch):
    with pytest.raises(SystemExit):
        bench.main(["--only", "ViT-L"])
    assert "tiny 20, ViT-B/16 20, RN50 20" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        bench.main(["--quick", "--train-images", "7"])
    assert "a batch of 8, got 7" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        bench.main(["--device", "cuda"])
    assert "no GPU" in capsys.readouterr().err
