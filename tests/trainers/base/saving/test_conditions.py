from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import train
from common.sparse_targets import SparseTargets
from datasets.base.listed_image import ListedImages, Pictures
from datasets.files.image_list import Paths
from tests.helpers.models.small_clip import openai_weights, random_clip
from tests.helpers.sets.small_set import arguments, results, write_set
from trainers.base.saving.conditions import _images

COMMAND = arguments(Path("data"), "LMPT", Path("out"), "OPTIM.MAX_EPOCH", "2")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a data set and a run of two epochs on it; for copying."""
    folder = tmp_path_factory.mktemp("finished")
    write_set(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "collect_env_info", str)
        patch.chdir(folder)
        train.main(COMMAND)
    return folder


@pytest.fixture
def run(finished, tmp_path, monkeypatch):
    """Goes on with a copy of that run, into its own folder or another one."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return lambda *more: train.main([*COMMAND, *more])


def edit(path, change):
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")


def half_the_list(folder):
    edit(folder / "train.txt", lambda lines: lines[::2])


def two_swapped(folder):
    edit(folder / "train.txt", lambda lines: [lines[1], lines[0], *lines[2:]])


def class_renamed(folder):
    edit(folder / "labels.txt", lambda lines: [line.replace("dog", "wolf") for line in lines])


def weights_replaced(folder):
    torch.save(openai_weights(random_clip("ViT", seed=5)), folder / "clip.pt")


def captions_changed(folder):
    edit(folder / "captions.txt", lambda lines: [line.replace("wall", "floor") for line in lines])


def labels_of_the_test_changed(folder):
    edit(folder / "test.txt", lambda lines: [lines[0].split()[0] + " 0 1 2 3", *lines[1:]])


CHANGES = {
    half_the_list: "training images: 21 there, 11 here",
    two_swapped: "training images: as many, but their files, order or labels are others",
    class_renamed: "class 2 is 'dog' there, 'wolf' here",
    weights_replaced: "CLIP weights: those there were others",
    captions_changed: "captions: as many, but their texts are others",
    labels_of_the_test_changed: "test images: as many, but their files, order or labels",
}


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_a_run_does_not_go_on_under_other_conditions(change, elsewhere, run, tmp_path, capsys):
    change(tmp_path / "data" / "mine")
    more = ("--resume", "out", "--output-dir", "new") if elsewhere else ()
    before = (tmp_path / "out" / "conditions.json").read_bytes()
    with pytest.raises((ValueError, SystemExit)) as refusal:
        run(*more)
    told = str(refusal.value) + capsys.readouterr().err
    assert CHANGES[change] in told and told.count("out holds checkpoints") == 1
    assert (tmp_path / "out" / "conditions.json").read_bytes() == before


def test_a_run_goes_on_where_nothing_changed_and_in_a_moved_folder(run, tmp_path, capsys):
    before = results(tmp_path / "out")["metrics"]  # the data lie elsewhere by now
    run()
    assert results(tmp_path / "out")["metrics"] == before
    assert "not compared" not in capsys.readouterr().out


def test_a_folder_without_conditions_is_said_to_have_none(run, tmp_path, capsys):
    (tmp_path / "out" / "conditions.json").unlink()
    run()
    assert "they are not compared" in capsys.readouterr().out
    assert (tmp_path / "out" / "conditions.json").is_file()


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"classes": 3}', '{"captions": {}}', '{"captions": 4}']
)
def test_damaged_conditions_are_told(content, run, tmp_path, capsys):
    (tmp_path / "out" / "conditions.json").write_text(content)
    with pytest.raises((ValueError, SystemExit)) as refusal:
        run()
    told = str(refusal.value) + capsys.readouterr().err
    assert "conditions.json is damaged" in told and "Remove that file alone" in told


@pytest.mark.parametrize("kept", [0, 0.5, 0.99])
def test_half_a_config_is_told_and_can_be_removed_alone(kept, run, tmp_path, capsys):
    path, before = tmp_path / "out" / "config.yaml", results(tmp_path / "out")["metrics"]
    text = path.read_text()
    path.write_text(text[: int(kept * len(text))])
    with pytest.raises((ValueError, SystemExit)) as refusal:
        run()
    told = str(refusal.value) + capsys.readouterr().err
    assert "config.yaml is damaged. Remove that file alone" in told and len(told) < 500
    path.unlink()
    run()
    assert path.read_text() == text and results(tmp_path / "out")["metrics"] == before


def test_the_config_is_replaced_and_not_rewritten(run, tmp_path):
    path = tmp_path / "out" / "config.yaml"
    (tmp_path / "earlier.yaml").hardlink_to(path)
    run()
    assert not path.samefile(tmp_path / "earlier.yaml")
    assert path.read_text() == (tmp_path / "earlier.yaml").read_text()


def test_conditions_can_be_read_by_people(finished):
    found = json.loads((finished / "out" / "conditions.json").read_text())
    assert found["classes"] == ["cat", "traffic light", "dog", "tv"]
    assert found["training images"]["number"] == 21 and len(found["CLIP weights"]) == 64


def test_large_sets_are_told_apart_by_their_ids():
    """Of sets whose items are made when they are asked for, in which no matrix is made."""

    def digest(names, rows):
        targets = SparseTargets.from_matrix(np.array(rows))
        items = ListedImages(Pictures(Paths.of(names), "data/{}".format), targets)
        return _images(items, "data/")

    first = digest(["a", "b"], [[1, 0], [1, 1]])
    assert first == digest(["a", "b"], [[1, 0], [1, 1]]) and first["number"] == 2
    others = (["a", "b"], [[1, 0], [0, 1]]), (["a", "c"], [[1, 0], [1, 1]])
    assert first not in [digest(*other) for other in others]
