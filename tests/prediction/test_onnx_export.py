from __future__ import annotations

import json
import math

import pytest
import torch

from evaluation.results.saved_scores import load_scores
from loading.images import read_picture
from prediction import load_run, onnx_export
from prediction.onnx_export import OPSET, write_onnx
from tests.helpers.sets.small_set import NAMES

# Trainer, tower, words. The first five are those that plain code cannot do.
EXPORTED = {
    "DualCoOp": ("DualCoOp", "ViT"),
    "DualCoOp on a ResNet": ("DualCoOp", "RN"),
    "DualCoOpPP": ("DualCoOpPP", "ViT"),
    "TaIDPT": ("TaIDPT", "ViT"),
    "PVLR": ("PVLR", "ViT"),
    "CPRFL": ("CPRFL", "ViT", "TRAINER.CPRFL.WIDTH", "32"),
    "LMCLIP": ("LMCLIP", "ViT"),
    "TARP": ("TARP", "ViT", "TRAINER.TARP.ADAPTER", "6"),
    "TARP, regions of four views": ("TARP", "ViT", "INPUT.REGION_VIEWS", "flip 32 40"),
    "CoOp, mean of four views": ("CoOp", "ViT", "INPUT.TEST_VIEWS", "flip 32 40"),
    "CoOp with regions": ("CoOp", "ViT", "TRAINER.COOP.REGION_WEIGHT", "0.5"),
    "CoOp": ("CoOp", "ViT"),
    "CoOp on a ResNet": ("CoOp", "RN"),
    "CoOp in half precision": ("CoOp", "ViT", "TRAINER.COOP.PREC", "bf16"),
    "LMPT": ("LMPT", "ViT", "TEST.SCORE", "softmax", "TEST.THRESHOLD", "0.3"),
    "LinearProbe": ("LinearProbe", "ViT"),
    "FinetuneCLIP": ("FinetuneCLIP", "ViT"),
    "ZeroshotCLIP": ("ZeroshotCLIP", "ViT"),
    "CoOp and LoRA": ("CoOp", "ViT", "TRAINER.TUNE.NAME", "lora"),
    "CoOp and visual prompts": ("CoOp", "ViT", "TRAINER.TUNE.NAME", "vpt"),
}
needs_onnx = pytest.mark.skipif(
    bool(onnx_export.missing_packages()),
    reason="onnx and onnxruntime are not there (requirements-optional.txt)",
)


@needs_onnx
@pytest.mark.parametrize("name", EXPORTED)
def test_onnxruntime_scores_pictures_as_the_run_did(name, trained, tmp_path):
    import onnxruntime

    trainer, tower, *words = EXPORTED[name]
    folder = trained.folder(trainer, *words, tower=tower)
    run, file = load_run(folder), tmp_path / "model.onnx"
    assert write_onnx(run, file) < 1e-3
    saved = load_scores(folder / "scores.npz")
    images = torch.stack([run.transform(read_picture(path)) for path in saved.paths])
    session = onnxruntime.InferenceSession(str(file))
    found = torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
    # Features of regions are cached in half precision, and bf16 rounds by itself.
    rounds = run.model.clip.uses_regions or "half precision" in name
    torch.testing.assert_close(found, saved.logits, atol=0.5 if rounds else 1e-3, rtol=0)


@needs_onnx
def test_the_graph_says_what_its_logits_depend_on(trained, tmp_path):
    import onnx

    _, _, *words = EXPORTED["LMPT"]
    write_onnx(load_run(trained.folder("LMPT", *words)), tmp_path / "model.onnx")
    graph = onnx.load(str(tmp_path / "model.onnx"))
    assert [entry.version for entry in graph.opset_import if entry.domain == ""] == [OPSET]
    meta = {entry.key: entry.value for entry in graph.metadata_props}
    assert json.loads(meta["classnames"]) == NAMES
    assert json.loads(meta["threshold_log_odds"]) == pytest.approx([math.log(0.3 / 0.7)] * 4)
    assert (meta["trainer"], meta["probability"], meta["resize"]) == ("LMPT", "softmax", "squash")


@needs_onnx
def test_a_graph_that_differs_from_its_model_is_not_written(trained, tmp_path):
    run = load_run(trained.folder("CoOp"))
    own = type(run.model)

    class DependsOnTheBatch(own):
        def logits(self, features, text):
            return super().logits(features, text) + len(features.global_features)

    run.model.__class__ = DependsOnTheBatch
    with pytest.raises(ValueError, match="The ONNX graph and the model differ by 1"):
        write_onnx(run, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@needs_onnx
def test_text_features_of_each_image_are_refused(trained, tmp_path):
    with pytest.raises(ValueError, match="CoCoOp makes text features anew for each image"):
        write_onnx(load_run(trained.folder("CoCoOp")), tmp_path / "model.onnx")


def test_a_missing_package_is_named(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "PACKAGES", ("onnx_of_another_world", "json"))
    with pytest.raises(ImportError, match=r"needs onnx_of_another_world\. Run: pip install -r"):
        write_onnx(load_run(trained.folder("CoOp")), tmp_path / "model.onnx")
