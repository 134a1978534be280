from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from loading.cache import feature_files
from loading.cache.feature_store import FeatureStore, cache_folder, in_memory
from modeling.encoders.features import Features
from tests.helpers.models.small_features import (
    CPU,
    KEY,
    PICTURES,
    V,
    encode_places,
    features,
    refuse,
    same,
)


@pytest.fixture
def encoder():
    return nn.Linear(2, 2)


@pytest.fixture
def store(tmp_path, encoder):
    return lambda name="ViT-B/16": FeatureStore(
        tmp_path / "cache", "Set", name, encoder, "fp32", CPU
    )


def ask(store, encode, split="train", pictures=PICTURES):
    return store.features(split, V, pictures, KEY, encode)


def test_the_second_run_loads_what_the_first_encoded(store, capsys):
    first, second = ask(store(), encode_places), ask(store(), refuse)
    assert same(first, second)
    lines = capsys.readouterr().out.splitlines()
    path = r"\S+/cache/Set-train-ViT-B-16-[0-9a-f]{16}"
    assert re.fullmatch(rf"Encoded 7 train images x 2 views in \d+\.\d\d s -> {path}", lines[0])
    assert re.fullmatch(rf"Loaded 7 train images x 2 views in \d+\.\d\d s from {path}", lines[1])


def test_a_weight_file_is_called_by_its_name_alone(store, tmp_path):
    (tmp_path / "mine.v2.pt").touch()
    ask(store(str(tmp_path / "mine.v2.pt")), encode_places)
    (path,) = (tmp_path / "cache").iterdir()
    assert path.name.startswith("Set-train-mine.v2-")


def test_splits_and_encoders_have_files_of_their_own(store, encoder, capsys):
    ask(store(), encode_places)
    ask(store(), encode_places, "test")
    encoder.weight.data[0, 0] += 1
    ask(store(), encode_places)
    assert capsys.readouterr().out.count("Encoded") == 3
    assert len(list(store().folder.iterdir())) == 3


def test_the_weights_are_read_once_and_when_needed(store, encoder, monkeypatch):
    read, state_dict = [], encoder.state_dict
    monkeypatch.setattr(encoder, "state_dict", lambda: read.append(1) or state_dict())
    made = store()
    assert not read
    ask(made, encode_places), ask(made, encode_places, "test")
    assert len(read) == 1


def test_pictures_that_join_the_list_are_encoded_alone(store, capsys):
    ask(store(), encode_places, pictures=PICTURES[:4])
    asked = []

    def more(places, write):
        asked.extend(places)
        encode_places(places, write)

    assert same(ask(store(), more), ask(store(), refuse))
    assert asked == [4, 5, 6]
    lines = capsys.readouterr().out.splitlines()
    assert "Encoded 4 train" in lines[0] and "Encoded 3 of 7 train" in lines[1]
    assert "Loaded 7 train" in lines[2]


def test_files_of_the_former_layout_are_named(store, capsys):
    folder = store().folder
    folder.mkdir()
    old = folder / f"Set-train-ViT-B-16-{'0' * 16}.safetensors"
    old.touch()
    ask(store(), encode_places), ask(store(), refuse)
    told = capsys.readouterr().out
    assert told.count(f"{old} was written by an earlier version") == 1 and old.exists()


def test_a_folder_that_cannot_be_written_is_reported_once(tmp_path, encoder, capsys):
    (tmp_path / "file").touch()
    store = FeatureStore(tmp_path / "file", "Set", "tiny", encoder, "fp32", CPU)
    for split in ("train", "test"):
        found = ask(store, encode_places, split)
        assert torch.equal(found.global_features, features().global_features)
    told = capsys.readouterr().out
    assert told.count("not kept for later runs") == 1
    assert told.count("Encoded 7") == 2 and "->" not in told


def test_a_disk_that_fills_up_while_encoding_costs_only_time(store, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(feature_files._Writer, "write", full)
    assert torch.equal(ask(store(), encode_places).global_features, features().global_features)
    assert "No space left" in capsys.readouterr().out


def test_in_memory_holds_what_a_file_would(store):
    assert same(
        in_memory("train", V, len(PICTURES), encode_places, CPU), ask(store(), encode_places)
    )


def test_one_view_is_spelled_as_one(capsys):
    in_memory(
        "test", 1, 3, lambda places, write: write(0, 0, Features(torch.zeros(len(places), 2))), CPU
    )
    assert "Encoded 3 test images x 1 view in" in capsys.readouterr().out


def test_the_folder_follows_the_users_wishes(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/lmpt")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder() == Path.home() / ".cache" / "lmpt"
    assert cache_folder("~/mine") == Path.home() / "mine"
