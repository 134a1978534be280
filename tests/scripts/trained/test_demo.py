from __future__ import annotations

import os
import socket
import sys

import pytest

import train
from common.user_errors import is_mistake
from scripts import demo
from tests.helpers.sets.small_set import NAMES, arguments


@pytest.fixture(autouse=True)
def environment_as_it_was(monkeypatch):
    monkeypatch.setattr(os, "environ", os.environ.copy())


def models(*words):
    return demo.load_models(demo.build_parser().parse_args(list(map(str, words))))


def test_runs_stand_beside_zero_shot_clip(roots, tmp_path):
    folders = {}
    for trainer in ("CoOp", "ZeroshotCLIP"):
        folders[trainer] = tmp_path / trainer
        words = arguments(roots["ViT"], trainer, folders[trainer], "OPTIM.MAX_EPOCH", "1")
        train.main(words)
    found = models("--model-dir", folders["CoOp"], folders["ZeroshotCLIP"])
    methods = [model.cfg.TRAINER.NAME for model in found]
    assert methods == ["CoOp", "ZeroshotCLIP", "ZeroshotCLIP"]
    assert found[1].name == "zero-shot CLIP" and found[2].folder == folders["ZeroshotCLIP"]
    assert all(model.classnames == NAMES for model in found)
    assert found[0].clip_digest == found[1].clip_digest
    assert len(models("--model-dir", folders["ZeroshotCLIP"])) == 1


def test_class_names_alone_show_zero_shot_clip():
    (only,) = models("--classes", "heart", "lightning bolt")
    assert only.classnames == ["heart", "lightning bolt"]
    assert only.cfg.TEST.SCORE == "softmax"


@pytest.mark.parametrize(
    ("words", "message"),
    (
        ((), "Give --model-dir DIR, or --classes NAME"),
        (("--model-dir", "a", "b", "c"), "one run or two, got 3"),
        (("--model-dir", "a", "--classes", "cat"), "--classes go without --model-dir"),
    ),
)
def test_a_command_line_that_shows_nothing_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        models(*words)


def test_the_page_is_this_computers_alone_unless_told_otherwise():
    args = demo.build_parser().parse_args([])
    assert (args.host, args.share) == ("127.0.0.1", False)


def test_a_port_that_is_taken_is_named():
    pytest.importorskip("gradio", reason="gradio is not installed: requirements-optional.txt")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=rf"Port {port} of 127.0.0.1 is taken.*--port"):
            demo.main(["--classes", "cat", "--port", str(port)])


def test_without_gradio_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ImportError, match="pip install -r requirements-optional.txt") as caught:
        demo.main(["--classes", "cat"])
    assert is_mistake(caught.value)
