from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from evaluation.metrics.average_precision import average_precision
from scripts import bench
from scripts.benchmark import measure as bench_measure
from scripts.benchmark import sides as bench_sides
from scripts.benchmark.data import BENCHMARKS, GEOMETRIES, write_set
from scripts.benchmark.measure import Meter, operations
from scripts.benchmark.naive import growing_average_precision
from scripts.benchmark.sides import Setting, build_naive, build_ours
from tests.helpers.models.small_clip import RESOLUTION, openai_weights, random_clip
from tests.helpers.models.small_trainer import loss_batch
from tests.helpers.tolerance import assert_as_exact, in_double

CPU = torch.device("cpu")
NAMES = ("cat", "traffic light", "diningtable", "tv_monitor", "dog")


@pytest.fixture
def setting(tmp_path, tower):
    write_set(tmp_path / "data", NAMES, train=24, test=10)
    weights = tmp_path / "clip.safetensors"
    save_file(openai_weights(random_clip(tower)), weights)
    benchmark = replace(BENCHMARKS[20], names=NAMES)
    side = RESOLUTION[tower]
    return Setting(tmp_path / "data", str(weights), side, benchmark, CPU, "fp32", 8)


@pytest.fixture
def trainer(setting, tmp_path):
    return build_ours(setting, tmp_path / "out")


@pytest.fixture
def twins(setting, trainer, monkeypatch):
    """The naive twin, and itself in float64, which tells the truth."""
    trainer.before_train()
    naive = build_naive(setting, trainer)
    load = bench_sides.load_clip
    monkeypatch.setattr(bench_sides, "load_clip", lambda *given: in_double(load(*given)))
    truth = build_naive(setting, trainer)
    truth.counts, truth.targets = truth.counts.double(), truth.targets.double()
    return naive, truth


def test_both_sides_train_alike(trainer, twins):
    """The naive twin computes what our trainer computes: losses, gradients and updates."""
    start = trainer.model.learner.ctx.detach().clone()
    trainer.set_model_mode("train")
    trainer.batch_idx, trainer.num_batches = 0, 100
    sampler = list(trainer.data.train_sampler)
    assert any(sample.view for samples in sampler for sample in samples)  # some are mirrored
    for samples, batch in zip(sampler, trainer.train_loader_x, strict=True):
        rows = [sample.index for sample in samples]
        paths = [trainer.dm.dataset.train_x[row].impath for row in rows]
        flips = [sample.view == 1 for sample in samples]
        losses = [naive.step(paths, rows, flips) for naive in twins]
        assert_as_exact(trainer.forward_backward(batch)["loss"], *losses)
        assert losses[0] > 0 and twins[0].contexts.grad.abs().max() > 0
        assert_as_exact(trainer.model.learner.ctx.grad, *(naive.contexts.grad for naive in twins))
    moved = [ctx - start for ctx in (trainer.model.learner.ctx, *(n.contexts for n in twins))]
    assert moved[1].abs().max() > 1e-3
    assert_as_exact(*moved)


def test_both_losses_are_alike_one_by_one(trainer, twins):
    batch = next(iter(trainer.train_loader_x))
    rows = batch["index"]
    views, targets = trainer.parse_batch_train(batch)
    text_features = trainer.model.text_features()
    logits = trainer.model.logits(views, text_features)
    ours = trainer.model.loss(logits, targets, loss_batch(batch, views, text_features))
    given = [(logits, targets), (logits.double(), targets.double())]
    found = [naive.classification_loss(*g) for naive, g in zip(twins, given, strict=True)]
    assert_as_exact(ours["loss_cls"], *found)
    found = [naive.embedding_loss(targets, naive.captions[rows]) for naive in twins]
    assert_as_exact(ours["loss_cse"], *found)


def test_both_evaluations_are_alike(trainer, twins):
    trainer.test("test")
    tests = trainer.dm.dataset.test
    scores, truth = (n.scores([item.impath for item in tests], batch_size=4) for n in twins)
    logits = torch.as_tensor(np.asarray(trainer.evaluator.logits))
    assert_as_exact(logits.softmax(dim=1), torch.as_tensor(scores), torch.as_tensor(truth))
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


class Clock:
    """Stands still but for what is said to take time."""

    now = 100.0

    def __call__(self):
        return self.now

    def calls(self, *seconds):
        """A call that takes so long the first time, so long the second time, ..."""
        left = iter(seconds)

        def call():
            self.now += next(left)

        return call


def test_a_time_is_the_median_of_the_calls_that_the_budget_allows():
    clock = Clock()
    meter = Meter(CPU, 8, clock)
    assert meter.once(clock.calls(2.5)) == 2.5
    assert meter.median(clock.calls(1, 5, 4, 99)) == 4  # 10 s are more than 8
    assert meter.median(clock.calls(9, 99)) == 9  # one at least
    instant = clock.calls(*[0] * 200)
    assert meter.median(instant) == 0 and pytest.raises(StopIteration, instant)  # 200 at most


def test_the_rate_is_that_of_the_fastest_product(monkeypatch):
    monkeypatch.setattr(bench_measure, "_SIDES", {"cpu": 8})
    readings = iter([0, 9, 10, 14, 20, 22, 30, 33])  # the first product warms up
    rate = Meter(CPU, 8, lambda: next(readings)).throughput(torch.float32)
    assert rate == 2 * 8**3 / 2 and not list(readings)


def test_memory_is_the_peak_above_what_was_held_before(tmp_path, monkeypatch):
    status = tmp_path / "status"
    monkeypatch.setattr(bench_measure, "_STATUS", status)
    monkeypatch.setattr(bench_measure, "_CLEAR", tmp_path / "clear_refs")
    status.write_text("VmHWM:\t  900 kB\nVmRSS:\t  300 kB\n")
    with Meter(CPU, 1).memory() as memory:
        status.write_text("VmHWM:\t  700 kB\nVmRSS:\t  400 kB\n")
    assert memory.peak == 400 * 1024
    assert (tmp_path / "clear_refs").read_text() == "5"
    monkeypatch.setattr(bench_measure, "_CLEAR", tmp_path / "none" / "clear_refs")
    with Meter(CPU, 1).memory() as memory:
        pass
    assert memory.peak is None  # a system that does not tell


def seconds(shown):
    """A cell of the table: "12.3 ms" -> 0.0123."""
    value, unit = shown.replace(",", "").lstrip("=").split()
    return float(value) * {"ms": 1e-3, "s": 1.0, "min": 60.0}[unit]


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
    naive, ours, ratio = rows["step"][2:5]
    assert float(ratio.replace(",", "")) == pytest.approx(seconds(naive) / seconds(ours), rel=0.02)
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
