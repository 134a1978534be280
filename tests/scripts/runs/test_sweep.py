from __future__ import annotations

import csv
import json

import pytest

import sweeping.sweep
from common.readers.yaml_files import read_yaml
from common.user_errors import run_command
from scripts import sweep
from tests.helpers.models.small_clip import RESOLUTION
from tests.helpers.sets.small_set import write_set

pytest.importorskip("optuna")

SIDE = RESOLUTION["ViT"]


@pytest.fixture
def command(tmp_path):
    """Words of a small sweep."""
    write_set(tmp_path / "data")
    spaces = tmp_path / "spaces"
    spaces.mkdir()
    (spaces / "CoOp.yaml").write_text("OPTIM.LR: {times: [0.1, 10]}\nOPTIM.MAX_EPOCH: [1, 15]")
    words = ["list_lt", "tiny", "CoOp", "--trials", "2", "--seeds", "3"]
    words += ["--root", str(tmp_path / "data"), "--output", str(tmp_path / "out")]
    words += ["--spaces", str(spaces), "--score", "softmax", "DATASET.FOLDER", "mine"]
    words += ["MODEL.BACKBONE.NAME", str(tmp_path / "data/mine/clip.pt")]
    return [*words, "INPUT.SIZE", f"({SIDE}, {SIDE})", "DATALOADER.NUM_WORKERS", "0"]


def test_settings_are_chosen_without_a_test_picture_at_hand(command, tmp_path, capsys, monkeypatch):
    pictures, away = tmp_path / "data" / "mine" / "pictures", tmp_path / "away"
    away.mkdir()
    for path in pictures.glob("test*"):
        path.rename(away / path.name)
    write_chosen = sweeping.sweep.write_chosen

    def chosen(*given):
        write_chosen(*given)
        for path in away.iterdir():
            path.rename(pictures / path.name)

    monkeypatch.setattr(sweeping.sweep, "write_chosen", chosen)
    assert sweep.main(command) == 0
    printed = capsys.readouterr().out
    assert "chosen by mAP of softmax scores on the validation images, 0.2 of the" in printed
    assert printed.count("val, 2 trials") == 1
    folder = tmp_path / "out" / "list_lt" / "tiny"
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["finished"] * 2
    for row in rows:
        run = folder / row["trainer"] / f"trial{row['trial']}"
        found = json.loads((run / "results.json").read_text())
        assert (found["split"], found["score"]) == ("val", "softmax") and "recipe" not in found
        assert float(row["mAP"]) == pytest.approx(found["metrics"]["mAP"], abs=1e-4)
    recipe = read_yaml(folder / "CoOp" / "chosen.yaml")
    head = (folder / "CoOp" / "chosen.yaml").read_text().splitlines()[0]
    assert "Not in here, and needed too: DATASET.FOLDER mine MODEL.BACKBONE.NAME" in head
    (best,) = [row for row in rows if row["chosen"]]
    found = json.loads((folder / "CoOp/chosen/seed3/results.json").read_text())
    assert (found["split"], found["seed"]) == ("test", 3)
    assert found["epoch"] == recipe["OPTIM"]["MAX_EPOCH"] == int(best["OPTIM.MAX_EPOCH"])
    link = recipe["TEST"]
    centre, width = link.get("LINK_CENTRE", 0.0), link.get("LINK_WIDTH", 0.0)
    assert found["link"] == {"centre": centre, "width": width}
    assert (width == 0) == (link["LINK"] == "identity")
    assert found["recipe"] == {
        "chosen_on": "val",
        "trials": 2,
        "trial": int(best["trial"]),
        "score": "softmax",
        "mAP": pytest.approx(float(best["mAP"])),
        "sampler": "random",
        "seed": 1,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shapes_lt", "tiny"], "required: TRAINERS"),
        (["shape_lt", "tiny", "CoOp"], "Did you mean 'shapes_lt'"),
        (["shapes_lt", "tiny", "CoOp", "--seeds", "a"], 'expected numbers such as "1 2 3"'),
        (["shapes_lt", "tiny", "CoOp", "--jobs", "0"], "a number of 1 or more, got '0'"),
        (["shapes_lt", "tiny", "CoOp", "OPTIM.LR"], "Overrides come in pairs"),
    ],
)
def test_mistakes_are_one_line(words, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run_command(lambda: sweep.main([*words, "--output", str(tmp_path / "out")]))
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
