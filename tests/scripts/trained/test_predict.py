from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from prediction import Predictor
from scripts import predict
from tests.helpers.models.small_clip import openai_weights, random_clip
from tests.helpers.sets.small_pictures import SIZE, write_pictures


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of pictures, one of them broken, beside a file that is none; and a CLIP."""
    root = tmp_path_factory.mktemp("predict")
    (root / "in").mkdir()
    write_pictures(root / "in")
    (root / "in" / "5broken.jpg").write_bytes(b"no picture")
    (root / "in" / "notes.txt").write_text("none")
    torch.save(openai_weights(random_clip()), root / "clip.pt")
    return root


@pytest.fixture
def words(place):
    """Zero-shot CLIP on the folder."""
    zero_shot = ["--trainer", "ZeroshotCLIP", "--classes", "cat, dog,tv", "--backbone"]
    return [
        str(place / "in"),
        *zero_shot,
        str(place / "clip.pt"),
        "--opts",
        "INPUT.SIZE",
        "(32, 32)",
    ]


def test_a_folder_becomes_json_and_annotated_pictures(place, words, tmp_path, capsys):
    more = ["--format", "json", "--top", "2", "--annotated", str(tmp_path / "shown")]
    assert predict.main([*words, *more, "--output", str(tmp_path / "new" / "out.json")]) == 1
    entries = json.loads((tmp_path / "new" / "out.json").read_text())
    paths = [entry["path"] for entry in entries]
    assert paths == sorted(str(p) for p in (place / "in").iterdir() if p.suffix != ".txt")
    whole = [entry for entry in entries if entry["error"] is None]
    assert len(whole) == SIZE
    for entry in whole:
        assert sum(entry["scores"].values()) == pytest.approx(1, abs=1e-4)
        assert entry["labels"] == sorted(entry["scores"], key=entry["scores"].get)[:0:-1]
    assert len(list((tmp_path / "shown").iterdir())) == SIZE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "5broken.jpg: is no picture of a known format" in printed.err
    assert "Left out: 1 files" in printed.err
    assert f"Predicted {SIZE} pictures; 1 could not be read." in printed.err


def test_a_table_goes_to_standard_output(words, capsys):
    assert predict.main([*words, "--threshold", "0.01"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["picture", "labels"]
    assert len(lines) == 2 + SIZE + 1
    assert predict.main([str(words[0]) + "/0.png", *words[1:], "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("path,labels,error,cat,dog,tv\n")


def test_what_cannot_be_annotated_is_predicted(words, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert predict.main([*words, "--annotated", str(tmp_path / "file")]) == 1
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 2 + SIZE + 1
    assert printed.err.count("was not written") == SIZE


def test_an_interruption_keeps_what_is_done(words, tmp_path, monkeypatch, capsys):
    original = Predictor.predict

    def interrupted(self, paths):
        for number, prediction in enumerate(original(self, paths)):
            if number == 8:
                raise KeyboardInterrupt
            yield prediction

    monkeypatch.setattr(Predictor, "predict", interrupted)
    path = tmp_path / "out.json"
    assert predict.main([*words, "--format", "json", "--output", str(path)]) == 130
    assert 0 < len(json.loads(path.read_text())) <= 8
    assert "Interrupted after" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "Give --model-dir DIR"),
        (["--trainer", "LMPT"], "--trainer must be one of ZeroshotCLIP"),
        (["--trainer", "ZeroshotCLIP", "--classes", "cat"], "two names or more"),
        (["--trainer", "ZeroshotCLIP", "--model-dir", "x"], "exclude each other"),
        (["--model-dir", "absent"], "holds no config.yaml"),
    ],
)
def test_what_does_not_fit_is_refused(more, message, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises((ValueError, OSError), match=message):
        predict.main([str(tmp_path), *more])
