"""Every method's step can be recorded as a CUDA graph; shown without a GPU.

A trainer built on the CPU is copied with each of its tensors moved to the device "meta", which has
shapes and no values. Whatever a recording would refuse fails there too: a value read back, a shape
that depends on values. Copies between the devices, and CPU tensors in the middle of a step, are
found among the operations that PyTorch dispatches.
"""

from __future__ import annotations

import contextlib
import copy
import gc

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from losses import LOSSES, build_loss
from tests.helpers.models.small_trainer import build
from tests.helpers.sets.small_set import write_set
from trainers import MODULES
from trainers.base import PromptTrainer
from trainers.base.logs.meters import TermMeters

BATCH = 8
META = torch.device("meta")


class OffTheCPU(TorchDispatchMode):
    """Refuses operations that take or give tensors on the CPU, but for those without elements.

    Of these nothing is copied: torch 2.4 makes one whenever activations are computed again.
    """

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            on_cpu = isinstance(leaf, Tensor) and leaf.device.type == "cpu"
            assert not (on_cpu and leaf.numel()), f"{func} on the CPU"
        return result


def to_meta(tensor):
    moved = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)
    return nn.Parameter(moved, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else moved


def on_meta(trainer):
    """A copy of a trainer, all tensors that it can reach included."""
    tensors = [found for found in gc.get_objects() if issubclass(type(found), Tensor)]
    twin = copy.deepcopy(trainer, {id(tensor): to_meta(tensor) for tensor in tensors})
    twin.device = twin.clip.device = META
    return twin


def take_steps(trainer):
    """Whole steps of a trainer as if on a GPU, from looking up the batch to summing its terms."""
    _ = trainer.train_loader_x.cache  # made with values, before they go
    trainer.set_model_mode("train")
    twin, meters = on_meta(trainer), TermMeters()
    assert next(twin.model.learner.parameters()).is_meta
    twin.num_batches, sampler = (
        3,
        list(twin.data.train_sampler),
    )  # the third would move the schedule
    for twin.batch_idx, samples in enumerate([sampler[0], sampler[-1]]):
        indices = torch.empty(3, len(samples), dtype=torch.int64, device=META)
        with OffTheCPU():
            meters.update(twin.forward_backward(twin.train_loader_x.cache.batch(samples, indices)))
        trained = [p for p in twin.model.learner.parameters() if p.requires_grad]
        assert trained and all(p.grad is not None and p.grad.is_meta for p in trained)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    write_set(root / "data")
    return root


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch):
    """The device "meta" has no autocast to switch off, and in torch 2.4 no module either."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: contextlib.nullcontext())
    if not hasattr(torch, "meta"):
        monkeypatch.setattr(torch, "meta", torch.cpu, raising=False)


def small(folder, name, **options):
    """A trainer on the small set; an option without a dot is the method's own."""
    node = f"TRAINER.{name.upper()}"
    keys = {key if "." in key else f"{node}.{key}": value for key, value in options.items()}
    words = [word for pair in keys.items() for word in pair]
    return build(folder / "data", name, folder / "out", *words)


METHODS = {
    "CoOp": ("CoOp", {"CSC": True}),
    "CoOp, shared prefix": ("CoOp", {"COSINE_OFFSET": "learnt", "LOGIT_SCALE_LEARNABLE": True}),
    "CoOp, regions": ("CoOp", {"REGION_WEIGHT": 0.3, "PREC": "bf16"}),
    "CoOp, name first": ("CoOp", {"CLASS_TOKEN_POSITION": "front", "PREC": "fp16"}),
    **{
        f"CoOp, {kind} of the text tower": (
            "CoOp",
            {"TRAINER.TUNE.NAME": kind, "TRAINER.TUNE.TOWER": "text", "PREC": precision},
        )
        for kind, precision in (("lora", "fp32"), ("bias", "amp"), ("last_blocks", "fp32"))
    },
    "CoCoOp": ("CoCoOp", {"CHUNK": 3}),
    "CoCoOp, one chunk": ("CoCoOp", {"CHUNK": BATCH, "PREC": "bf16"}),
    **{
        f"LMPT, {preset}, {space}": ("LMPT", {"PRESET": preset, "TRAINER.LMPT.CSE.SPACE": space})
        for preset in ("paper", "released_repaired")
        for space in ("token", "pooled", "text")
    },
    "LMPT, random captions": ("LMPT", {"INPUT.CAPTION_PICK": "random", "PREC": "bf16"}),
    "DualCoOp": ("DualCoOp", {"CSC": False, "UNSEEN": "['dog']", "PREC": "bf16"}),
    "DualCoOp, drawn classes": ("DualCoOp", {"CLASSES_PER_STEP": 2}),
    "DualCoOpPP": ("DualCoOpPP", {"N_CTX": 4}),
    "TaIDPT": ("TaIDPT", {"DATASET.TEXT_AS_IMAGE": True, "TRAINER.LOSS.NAME": "ranking"}),
    "TaIDPT, bf16": ("TaIDPT", {"DATASET.TEXT_AS_IMAGE": True, "PREC": "bf16"}),
    "CPRFL": ("CPRFL", {"WIDTH": 16, "HEADS": 2, "HEAD_WIDTH": 8}),
    "CPRFL, bf16": ("CPRFL", {"WIDTH": 16, "HEADS": 2, "HEAD_WIDTH": 8, "PREC": "bf16"}),
    "PVLR": ("PVLR", {"AGREEMENT": 0.1, "N_CTX": 2}),
    "PVLR, pre": ("PVLR", {"CONTEXT_SIDE": "pre", "N_CTX": 2, "PREC": "bf16"}),
    "TARP": ("TARP", {"DATASET.TEXT_TEMPLATES": 1, "ADAPTER": 6}),
    "TARP, bf16": ("TARP", {"PREC": "bf16", "NEGATIVES": "off", "ADAPTER": 6}),
    "LinearProbe": ("LinearProbe", {}),
    "LinearProbe, bf16": ("LinearProbe", {"PREC": "bf16"}),
}


@pytest.mark.parametrize("method", METHODS)
def test_methods(method, folder):
    name, options = METHODS[method]
    take_steps(small(folder, name, **options))


def test_no_method_is_forgotten():
    checked = {name for name, _ in METHODS.values()}
    classes = {
        found.__name__: found
        for module in MODULES
        for found in vars(module).values()
        if isinstance(found, type) and found.__module__ == module.__name__
    }
    recorded = {
        name
        for name, found in classes.items()
        if issubclass(found, PromptTrainer) and not found.tunes_image_encoder
    }
    assert recorded - {"PromptTrainer", "ZeroshotCLIP"} == checked


@pytest.fixture(scope="module")
def coop(folder):
    return small(folder, "CoOp", N_CTX=2, CSC=True)


LOSS_OPTIONS = [
    *((name, {}) for name in LOSSES),
    *(("db", {"variant": variant}) for variant in ("paper", "lmpt")),
    *(("cb_focal", {"mode": mode}) for mode in ("average_n", "average_w", "min_n")),
    ("asl", {"detach_focal": False, "gamma_pos": 1.0}),
]


@pytest.mark.parametrize(("name", "options"), LOSS_OPTIONS)
def test_losses(name, options, coop, monkeypatch):
    counts = (coop.data.targets == 1).sum(dim=0)
    loss = build_loss(name, counts, len(coop.data.targets), **options)
    monkeypatch.setattr(coop.model, "criterion", loss)
    take_steps(coop)


def in_backward(logits, targets):
    logits.register_hook(lambda gradient: gradient * torch.tensor(2.0))
    return logits.mean()


REFUSED = {
    "a value read back": lambda logits, targets: logits.mean() * float(targets.sum()),
    "a branch on values": lambda logits, targets: logits.mean() if targets.any() else logits.sum(),
    "a shape from values": lambda logits, targets: logits[targets == 1].mean(),
    "a constant from the CPU": lambda logits, targets: logits.mean() * torch.tensor(2.0),
    "one in the backward pass": in_backward,
    "a copy to the CPU": lambda logits, targets: logits.cpu().mean(),
}


@pytest.mark.parametrize("loss", REFUSED)
def test_what_cannot_be_recorded_is_found(loss, coop, monkeypatch):
    monkeypatch.setattr(coop.model, "criterion", REFUSED[loss])
    message = "on the CPU|meta|nonzero|no data"
    with pytest.raises((RuntimeError, NotImplementedError, AssertionError), match=message):
        take_steps(coop)
