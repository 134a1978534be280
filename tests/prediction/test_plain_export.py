from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
import textwrap

import pytest
import torch
from safetensors import safe_open

from common.download import file_digest
from evaluation.fitted.fitted_files import Origin
from evaluation.fitted.saved_thresholds import save_thresholds
from evaluation.fitted.threshold_choice import Criterion, choose_thresholds
from evaluation.metrics.average_precision import average_precision
from evaluation.results.saved_scores import load_scores
from prediction import load_run
from prediction.plain_export import write_plain
from tests.helpers.project_copy import PACKAGES, ROOT
from tests.helpers.sets.small_set import NAMES

PAGE = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
PROGRAM, CROP, WITHOUT_TOWER, *_ = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
RESIZING = "".join(re.findall(r"^    (?:method|image) = .*\n", PROGRAM, re.MULTILINE))
BUILDING = "".join(re.findall(r"^tower.*\n", PROGRAM, re.MULTILINE))

# Runs that plain code has to score as their own evaluation did: trainer, tower, words.
EXPORTED = {
    "ZeroshotCLIP": ("ZeroshotCLIP", "ViT"),
    "CoOp": ("CoOp", "ViT"),
    "CoOp, offset and scale learnt": (
        *("CoOp", "ViT", "TRAINER.COOP.COSINE_OFFSET", "learnt"),
        *("TRAINER.COOP.LOGIT_SCALE_LEARNABLE", "True"),
    ),
    "CoOp on a ResNet": ("CoOp", "RN"),
    "CoOp in half precision": ("CoOp", "ViT", "TRAINER.COOP.PREC", "bf16"),
    "LMPT, softmax": ("LMPT", "ViT", "TEST.SCORE", "softmax", "TEST.THRESHOLD", "0.3"),
    "LinearProbe": ("LinearProbe", "ViT"),
    "FinetuneCLIP": ("FinetuneCLIP", "ViT"),
    "LMCLIP": ("LMCLIP", "ViT"),
    "CoOp and LoRA": ("CoOp", "ViT", "TRAINER.TUNE.NAME", "lora"),
    "CoOp and LoRA of both towers": (
        "CoOp",
        "ViT",
        *("TRAINER.TUNE.NAME", "lora", "TRAINER.TUNE.TOWER", "both"),
    ),
    "CoOp and norms of a ResNet": ("CoOp", "RN", "TRAINER.TUNE.NAME", "norm"),
    "TaIDPT without regions": ("TaIDPT", "ViT", "TRAINER.TAIDPT.REGION_WEIGHT", "0.0"),
    "TARP without regions": ("TARP", "ViT", "TRAINER.TARP.REGIONS", "False"),
    "tiny": ("ZeroshotCLIP", "ViT", "MODEL.BACKBONE.NAME", "tiny", "INPUT.SIZE", "(96, 96)"),
    "crop": ("ZeroshotCLIP", "ViT", "INPUT.RESIZE", "crop"),
    "without tower": ("ZeroshotCLIP", "ViT"),
}
# Runs for which no matrix stands, and the beginning of the reason.
REFUSED = {
    "CoCoOp": ("CoCoOp", "makes text features anew for each image"),
    "DualCoOp": ("DualCoOp", "weighs the regions of an image.*--onnx"),
    "DualCoOpPP": ("DualCoOpPP", "weighs the regions of an image.*--onnx"),
    "TaIDPT": ("TaIDPT", "weighs the regions of an image.*--onnx"),
    "CPRFL": ("CPRFL", "weighs the regions of an image.*--onnx"),
    "PVLR": ("PVLR", "weighs the regions of an image.*--onnx"),
    "TARP": ("TARP", "weighs the regions of an image.*--onnx"),
    "CoOp with regions": (
        *("CoOp", "weighs the regions of an image.*--onnx"),
        *("TRAINER.COOP.REGION_WEIGHT", "0.5"),
    ),
    "visual prompts": ("CoOp", "visual prompts.*--onnx", "TRAINER.TUNE.NAME", "vpt"),
}

# Runs the page's program on one file after another, and keeps what it prints and computes.
DRIVER = """
import contextlib, io, json, sys
from PIL import Image
found = {}
for name, (program, file, paths) in json.load(open("jobs.json")).items():
    space, sys.argv, printed = {}, ["use.py", file, paths[0]], io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(program, space)
    logits = [space["logits"](Image.open(path)).tolist() for path in paths]
    found[name] = {"printed": printed.getvalue(), "logits": logits}
modules = sorted({name.partition(".")[0] for name in sys.modules})
json.dump({"found": found, "modules": modules}, open("found.json", "w"))
"""


def program_for(name):
    if name == "crop":
        return PROGRAM.replace(RESIZING, textwrap.indent(CROP, "    "))
    return PROGRAM.replace(BUILDING, WITHOUT_TOWER) if name == "without tower" else PROGRAM


@pytest.fixture(scope="module")
def files(trained, tmp_path_factory):
    """Folder of a run and its exported file, by name."""
    folder, found = tmp_path_factory.mktemp("files"), {}
    for name, (trainer, tower, *words) in EXPORTED.items():
        run = trained.folder(trainer, *words, tower=tower)
        file = folder / f"{len(found)}.safetensors"
        write_plain(load_run(run), file, image_tower=name != "without tower")
        found[name] = (run, file)
    return found


@pytest.fixture(scope="module")
def plain(files, tmp_path_factory):
    """What plain code found, and the packages that it imported, in a folder without the project."""
    folder = tmp_path_factory.mktemp("empty")
    jobs = {
        name: (program_for(name), str(file), load_scores(run / "scores.npz").paths)
        for name, (run, file) in files.items()
    }
    (folder / "jobs.json").write_text(json.dumps(jobs))
    (folder / "driver.py").write_text(DRIVER)
    if importlib.util.find_spec("pkg_resources") is None:  # as the page says
        (folder / "pkg_resources.py").write_text("import packaging.version\n")
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "driver.py"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("name", EXPORTED)
def test_plain_code_scores_pictures_as_the_run_did(name, files, plain):
    logits = torch.tensor(plain["found"][name]["logits"])
    saved = load_scores(files[name][0] / "scores.npz")
    bound = 0.5 if "half precision" in name else 1e-3  # the run's own rounding, times about 100
    torch.testing.assert_close(logits, saved.logits, atol=bound, rtol=0)
    if "half precision" not in name:
        ours, theirs = (average_precision(s, saved.targets).mean() for s in (logits, saved.logits))
        assert abs(float(ours - theirs)) <= 1e-4


def test_plain_code_imports_nothing_of_the_project(plain):
    assert {"clip", "safetensors", "torch"} <= {*plain["modules"]}
    ours = PACKAGES | {"configuration", "command_line", "train", "dassl"}
    assert not ours & {*plain["modules"]}


def test_the_program_of_the_page_prints_the_classes_above_their_threshold(files, plain):
    saved = load_scores(files["LMPT, softmax"][0] / "scores.npz")
    expected = saved.logits[0].softmax(0).tolist()
    above = {n: f"{p:.3f}" for n, p in zip(NAMES, expected, strict=True) if p > 0.3}
    assert plain["found"]["LMPT, softmax"]["printed"].strip() == f"{saved.paths[0]} {above}"


def test_the_file_says_what_its_tensors_depend_on(files, trained):
    with safe_open(files["LMPT, softmax"][1], "pt") as file:
        meta, shapes = file.metadata(), {k: file.get_slice(k).get_shape() for k in file.keys()}  # noqa: SIM118
        thresholds, tower = file.get_tensor("thresholds"), file.get_tensor("visual.proj")
        log_odds = file.get_tensor("threshold_log_odds")
    assert json.loads(meta["classnames"]) == NAMES
    weights = trained.root() / "mine" / "clip.pt"
    assert (meta["backbone"], meta["backbone_sha256"]) == (str(weights), file_digest(weights))
    assert (meta["trainer"], meta["score"], meta["probability"]) == ("LMPT", *2 * ("softmax",))
    assert (meta["epoch"], meta["selection"], meta["backbone_tuned"]) == ("1", "last_step", "false")
    assert (meta["size"], meta["resize"], meta["interpolation"]) == (
        "[32, 32]",
        "squash",
        "bicubic",
    )
    assert shapes["text_features"] == [4, 32] and shapes["logit_offset"] == [4]
    assert thresholds.tolist() == pytest.approx([0.3] * 4)
    assert log_odds.tolist() == pytest.approx([math.log(0.3 / 0.7)] * 4)
    assert tower.dtype == torch.float16  # which holds these weights exactly
    with safe_open(files["without tower"][1], "pt") as file:
        assert not any(name.startswith("visual.") for name in file.keys())  # noqa: SIM118


def test_thresholds_that_were_chosen_for_the_run_go_along(trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained.folder("CoOp"), folder)
    run, criterion = load_run(folder), Criterion()
    saved = load_scores(folder / "scores.npz")
    chosen = choose_thresholds(saved.logits.double(), saved.targets, criterion, True, 1)
    origin = Origin.of(run.scored, "val", len(saved.paths), "evaluation")
    save_thresholds(folder, origin, NAMES, chosen, criterion, True, 1)
    write_plain(run, tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        found, probabilities = file.get_tensor("threshold_log_odds"), file.get_tensor("thresholds")
    assert found.tolist() == [threshold.log_odds for threshold in chosen]
    assert len({*found.tolist()}) > 1
    torch.testing.assert_close(probabilities, found.sigmoid())


@pytest.mark.parametrize("name", ["FinetuneCLIP", "CoOp and LoRA"])
def test_a_tuned_tower_goes_along_or_nothing_is_written(name, files, tmp_path):
    run, file = files[name]
    with safe_open(file, "pt") as opened:
        assert opened.metadata()["backbone_tuned"] == "true"
    with pytest.raises(ValueError, match=r"has tuned the image tower.*without --no-image-tower"):
        write_plain(load_run(run), tmp_path / "x.safetensors", image_tower=False)
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_matrix_can_do_is_refused_with_the_reason(name, trained, tmp_path):
    trainer, reason, *words = REFUSED[name]
    with pytest.raises(ValueError, match=reason):
        write_plain(load_run(trained.folder(trainer, *words)), tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_a_method_with_logits_of_its_own_is_refused(trained, tmp_path):
    run = load_run(trained.folder("CoOp"))
    own = type(run.model)

    class Squared(own):
        def logits(self, features, text):
            return super().logits(features, text).square()

    run.model.__class__ = Squared
    with pytest.raises(ValueError, match="in another way than scale"):
        write_plain(run, tmp_path / "x.safetensors")


def test_a_tower_that_plain_code_cannot_build_is_refused(trained, tmp_path):
    words = ("MODEL.BACKBONE.ACTIVATION", "gelu")
    run = load_run(trained.folder("ZeroshotCLIP", *words))
    with pytest.raises(ValueError, match="GELU in place of QuickGELU, which plain CLIP code"):
        write_plain(run, tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()
    write_plain(run, tmp_path / "x.safetensors", image_tower=False)
