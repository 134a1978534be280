from __future__ import annotations

import json

import pytest
import torch

from modeling.clip.loader import tokenize
from modeling.encoders.text_encoder import TextEncoder
from modeling.prompts.class_prompts import (
    OURS,
    check_template,
    concatenate_and_truncate,
    ensemble_features,
    fill,
    read_descriptions,
    read_templates,
)
from tests.helpers.tolerance import assert_as_exact, in_double

NAMES = ["cat", "traffic_light"]


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_every_slot_is_filled_and_underscores_become_spaces():
    assert (
        fill("a {} and another {}.", "traffic_light")
        == "a traffic light and another traffic light."
    )


def test_templates_are_the_lines_that_are_not_empty(tmp_path):
    path = written(tmp_path / "mine.txt", "a {}.\n\n  the {} \n")
    assert read_templates(path) == ["a {}.", "the {}"]


def test_our_own_templates_can_be_read():
    assert read_templates("ours") == read_templates(OURS)
    assert len(set(read_templates("ours"))) >= 30


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a {}.\nno place\n", r"mine.txt, line 2 must hold \{\}.*got 'no place'"),
        ("\n\n", "holds no templates"),
    ],
)
def test_bad_templates_are_refused(text, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_templates(written(tmp_path / "mine.txt", text))


def test_other_encodings_are_named(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes(b"a {}.\n\xff\xfe {}\n")
    with pytest.raises(ValueError, match=r"mine.txt is not UTF-8 text \(byte 6\)"):
        read_templates(path)
    with pytest.raises(ValueError, match="mine.txt is not UTF-8 text"):
        read_descriptions(path, NAMES)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="No file of templates at .*nowhere.txt"):
        read_templates(tmp_path / "nowhere.txt")
    with pytest.raises(FileNotFoundError, match="No file of descriptions at .*nowhere.json"):
        read_descriptions(tmp_path / "nowhere.json", NAMES)
    with pytest.raises(ValueError, match="KEY must hold"):
        check_template("a photo", "KEY")


def test_descriptions_come_in_the_order_of_the_classes(tmp_path):
    content = {"traffic light": ["red.", " green. ", ""], "cat": ["It purrs."]}
    path = written(tmp_path / "d.json", json.dumps(content))
    assert read_descriptions(path, NAMES) == [["It purrs."], ["red.", "green."]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"cat": ["a"],\n "traffic light" ["b"]}', "line 2: not valid JSON"),
        ('["cat"]', "one JSON object of class names, got a list"),
        ('{"cat": ["a"], "trafic light": ["b"]}', "Did you mean 'traffic light'"),
        ('{"cat": ["a"], "traffic light": "b"}', "'traffic light' must have a list of sentences"),
        ('{"cat": ["a"], "traffic light": [1]}', "'traffic light' must have a list of sentences"),
        ('{"cat": ["a"]}', "describes no 'traffic light'"),
        ('{"cat": ["a"], "traffic light": [" "]}', "describes no 'traffic light'"),
    ],
)
def test_bad_descriptions_are_refused(text, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_descriptions(written(tmp_path / "d.json", text), NAMES)


def test_joining_cuts_in_the_middle_of_words():
    assert concatenate_and_truncate(["a bad cat.", "many cats."], 15) == "a bad cat. many"
    assert concatenate_and_truncate(["a bad cat.", "many cats."], 13) == "a bad cat. ma"


class TestEnsemble:
    TEXTS = (["a cat.", "my old cat", "cats, many of them"], ["the dog"])

    def test_it_is_the_normalised_mean_of_normalised_features(self, clip_model):
        twins = (self.naive(clip) for clip in (clip_model, in_double(clip_model)))
        assert_as_exact(ensemble_features(self.TEXTS, TextEncoder(clip_model)), *twins)

    def naive(self, clip_model):
        rows = []
        for texts in self.TEXTS:
            units = []
            for text in texts:
                feature = clip_model.encode_text(tokenize([text]))[0]  # CLIP's own tower
                units.append(feature / feature.norm())
            mean = torch.stack(units).mean(dim=0)
            rows.append(mean / mean.norm())
        return torch.stack(rows)

    def test_the_number_of_texts_in_a_pass_changes_nothing(self, vit, monkeypatch):
        whole = ensemble_features(self.TEXTS, TextEncoder(vit))
        monkeypatch.setattr("modeling.prompts.class_prompts._CHUNK", 2)
        parts = ensemble_features(self.TEXTS, TextEncoder(vit))
        assert_as_exact(parts, whole, self.naive(in_double(vit)))

    def test_a_text_that_is_too_long_is_named(self, vit):
        ensemble_features([["cat " * 75]], TextEncoder(vit))
        with pytest.raises(ValueError, match="takes 77 tokens, 78 are in: 'cat cat"):
            ensemble_features([["cat " * 76]], TextEncoder(vit))
