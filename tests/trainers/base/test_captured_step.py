"""The bookkeeping of captured steps, with a recorder that works without a GPU; and a GPU's own."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from trainers.base.captured_step import CapturedStep

RATE = 0.1


class Replayed:
    """Stands for a CUDA graph: replaying computes again, from and into the recorded memory."""

    def __init__(self, step):
        self.step, self.replays = step, 0

    def bind(self, inputs, terms, gradients):
        self.inputs, self.terms, self.gradients = inputs, terms, gradients

    def replay(self):
        self.replays += 1
        for parameter in self.step.parameters:
            parameter.grad = None
        for name, value in self.step.gradients(self.inputs).items():
            self.terms[name].copy_(value)
        for kept, parameter in zip(self.gradients, self.step.parameters, strict=True):
            kept.copy_(parameter.grad)


def recording(step, graphs):
    """A `record` for `CapturedStep`; graphs are bound to their memory once they are known."""

    def record():
        graph = Replayed(step)
        graphs.append(graph)
        return graph, contextlib.nullcontext()

    return record


@pytest.fixture
def problem():
    weight = nn.Parameter(torch.randn(5, 3))

    def gradients(inputs):
        loss = (inputs["x"] @ weight - inputs["y"]).pow(2).mean()
        loss.backward()
        return {"loss": loss.detach()}

    return weight, gradients


def batches(sizes):
    generator = torch.Generator().manual_seed(1)
    for size in sizes:
        yield {
            "x": torch.randn(size, 5, generator=generator),
            "y": torch.randn(size, 3, generator=generator),
        }


def train(step, weight, sizes):
    optimiser = torch.optim.SGD([weight], lr=RATE, momentum=0.9)
    losses = []
    for inputs in batches(sizes):
        losses.append(float(step(inputs)["loss"]))
        optimiser.step()
    return torch.tensor(losses), weight.detach().clone()


def eager(weight, gradients):
    def step(inputs):
        weight.grad = None
        return gradients(inputs)

    return step


SIZES = [8, 8, 8, 3] * 6  # each epoch ends with a smaller batch


def test_replayed_steps_equal_eager_ones(problem, monkeypatch):
    weight, gradients = problem
    start = weight.detach().clone()
    expected = train(eager(weight, gradients), weight, SIZES)
    weight.data.copy_(start)

    graphs = []
    step = CapturedStep(gradients, [weight])
    step._record = recording(step, graphs)
    replay = CapturedStep._replay

    def bound(self, recorded, inputs):
        recorded.graph.bind(recorded.inputs, recorded.terms, recorded.gradients)
        return replay(self, recorded, inputs)

    monkeypatch.setattr(CapturedStep, "_replay", bound)
    found = train(step, weight, SIZES)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    # Three eager steps of each size, then one graph for each.
    assert [graph.replays for graph in graphs] == [18 - 3, 6 - 3]


def test_a_refused_recording_trains_on_without_it(problem, capsys):
    weight, gradients = problem
    start = weight.detach().clone()
    expected = train(eager(weight, gradients), weight, SIZES)
    weight.data.copy_(start)

    def record():
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    step = CapturedStep(gradients, [weight], record)
    found = train(step, weight, SIZES)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert step.refused == "operation not permitted when stream is capturing"
    assert capsys.readouterr().out.count("without a CUDA graph") == 1


def test_ever_new_shapes_are_not_recorded(problem):
    weight, gradients = problem
    calls = []

    def record():
        calls.append(1)
        return Replayed(None), contextlib.nullcontext()

    step = CapturedStep(gradients, [weight], record)
    step._replay = lambda recorded, inputs: recorded.terms
    for size in range(1, 12):
        for inputs in batches([size] * 5):
            step(inputs)
    assert len(calls) == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_graphs_equal_eager_steps(problem):
    weight, _ = problem
    weight = nn.Parameter(weight.detach().cuda())

    def gradients(inputs):
        loss = (inputs["x"] @ weight - inputs["y"]).pow(2).mean()
        loss.backward()
        return {"loss": loss.detach()}

    def on_gpu(step):
        return lambda inputs: step({name: tensor.cuda() for name, tensor in inputs.items()})

    start = weight.detach().clone()
    expected = train(on_gpu(eager(weight, gradients)), weight, SIZES)
    weight.data.copy_(start)
    step = CapturedStep(gradients, [weight])
    found = train(on_gpu(step), weight, SIZES)
    assert not step.refused
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["CoOp", "LMPT"])
def test_a_captured_run_equals_an_eager_one(name, tmp_path, monkeypatch):
    import train
    from tests.helpers.sets.small_set import arguments, contexts, results, write_set
    from trainers.base import PromptTrainer

    write_set(tmp_path / "data")
    train.main(arguments(tmp_path / "data", name, tmp_path / "eager"))
    graphs, build, replay = [], PromptTrainer.build_model, CapturedStep._replay

    def captured(self):
        build(self)
        step = self.step
        step._captured = CapturedStep(step._gradients, step.parameters)
        step._captured._record = recording(step._captured, graphs)

    def bound(self, recorded, inputs):
        recorded.graph.bind(recorded.inputs, recorded.terms, recorded.gradients)
        return replay(self, recorded, inputs)

    monkeypatch.setattr(PromptTrainer, "build_model", captured)
    monkeypatch.setattr(CapturedStep, "_replay", bound)
    train.main(arguments(tmp_path / "data", name, tmp_path / "captured"))
    assert len(graphs) == 2 and all(graph.replays for graph in graphs)
    assert torch.equal(contexts(tmp_path / "eager"), contexts(tmp_path / "captured"))
    found = [results(tmp_path / folder)["metrics"] for folder in ("eager", "captured")]
    assert found[0] == found[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "amp"])
@pytest.mark.parametrize("name", ["CoOp", "CoCoOp", "LMPT", "DualCoOp", "PVLR", "TARP"])
def test_a_graph_trains_what_eager_steps_train(name, precision, tmp_path, capsys):
    import train
    from tests.helpers.sets.small_set import arguments, write_set

    write_set(tmp_path / "data")
    trained = []
    for graph in (False, True):
        keys = {
            f"TRAINER.{name.upper()}.PREC": precision,
            "TRAIN.CUDA_GRAPH": graph,
            "OPTIM.MAX_EPOCH": 6,  # a last batch is recorded in the fourth epoch
        }
        if name == "TARP":
            keys["TRAINER.TARP.ADAPTER"] = 6
            keys["TRAINER.TARP.ADAPTER_DROPOUT"] = 0.0  # a graph draws other random numbers
        words = [str(word) for pair in keys.items() for word in pair]
        out = tmp_path / str(graph)
        train.main(arguments(tmp_path / "data", name, out, *words))
        folder = out / "prompt_learner"
        path = folder / (folder / "checkpoint").read_text().strip()
        trained.append(torch.load(path, weights_only=True)["state_dict"])
    assert "without a CUDA graph" not in capsys.readouterr().out
    tolerance = 1e-4 if precision == "fp32" else 2e-2
    eager, recorded = ({k: v.cpu() for k, v in state.items()} for state in trained)
    torch.testing.assert_close(recorded, eager, rtol=tolerance, atol=tolerance)
