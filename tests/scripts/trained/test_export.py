from __future__ import annotations

import pytest
from safetensors import safe_open

import train
from prediction import onnx_export
from scripts import export
from tests.helpers.sets.small_set import arguments, write_set


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_set(root)
    train.main(arguments(root, "ZeroshotCLIP", root / "run"))
    return str(root / "run")


def test_one_command_writes_both_files(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "write_onnx", lambda run, path: 1.2e-6)  # tested where it lies
    plain, graph = tmp_path / "a.safetensors", tmp_path / "a.onnx"
    words = ["--model-dir", run, "--output", str(plain), "--onnx", str(graph), "--no-image-tower"]
    export.main(words)
    with safe_open(plain, "pt") as file:
        names = set(file.keys())
    of_classes = {"text_features", "logit_offset", "thresholds", "threshold_log_odds"}
    assert names == {"logit_scale", *of_classes}
    printed = capsys.readouterr().out
    assert f"Written to {plain}\n" in printed
    assert f"Written to {graph}, opset {onnx_export.OPSET}; largest difference" in printed
    assert printed.rstrip().endswith("1.2e-06")


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "nothing to write: give --output"),
        (["--onnx", "x.onnx", "--no-image-tower"], "--no-image-tower is about the file"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(words, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        export.main(["--model-dir", "x", *words])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
