"""What a backbone was trained on, beside what a run makes of images."""

from __future__ import annotations

import json
import shutil

import pytest

from modeling.towers import open_clip_names
from modeling.towers.backbones import find_backbone
from modeling.towers.preprocessing import preprocessing_note

CLIPS = {
    "PIXEL_MEAN": [0.48145466, 0.4578275, 0.40821073],
    "PIXEL_STD": [0.26862954, 0.26130258, 0.27577711],
    "RESIZE": "squash",
    "INTERPOLATION": "bicubic",
}
HALVES = {**CLIPS, "PIXEL_MEAN": [0.5] * 3, "PIXEL_STD": [0.5] * 3}


def note_on(name, inputs):
    return preprocessing_note(find_backbone(name), inputs)


@pytest.fixture
def hugging_faces(small_towers, tmp_path):
    """A SigLIP's folder, and a function that writes its preprocessor_config.json."""
    folder = shutil.copytree(small_towers.folder("hf_siglip"), tmp_path / "siglip")

    def write(content):
        (folder / "preprocessor_config.json").write_text(json.dumps(content))
        return str(folder)

    return write


def test_other_colours_come_with_the_words_to_add(small_towers):
    folder = str(small_towers.folder("siglip"))
    note = note_on(folder, CLIPS)
    assert note.endswith('INPUT.PIXEL_MEAN "[0.5, 0.5, 0.5]" INPUT.PIXEL_STD "[0.5, 0.5, 0.5]"')
    assert note_on(folder, HALVES) == ""


def test_hugging_faces_filter_is_known_by_its_number(hugging_faces):
    said = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}
    assert note_on(hugging_faces(said), HALVES) == ""
    note = note_on(hugging_faces({**said, "resample": 2}), HALVES)
    assert note.endswith("Add: INPUT.INTERPOLATION bilinear")


@pytest.mark.parametrize(
    "content", [[], {}, {"image_mean": "red"}, {"image_mean": [0.5, None, 0.5], "resample": []}]
)
def test_what_is_garbled_is_left_out(content, hugging_faces):
    assert note_on(hugging_faces(content), CLIPS) == ""


def test_a_tag_says_how_images_are_resized(monkeypatch, tmp_path):
    pytest.importorskip("open_clip", reason="open_clip_torch is not installed")
    monkeypatch.setattr(open_clip_names, "_downloaded", lambda *_: tmp_path / "weights.bin")
    note = note_on("open_clip:MobileCLIP-S1/datacompdr", CLIPS)
    assert 'INPUT.PIXEL_MEAN "[0.0, 0.0, 0.0]"' in note
    assert note.endswith("INPUT.RESIZE crop INPUT.INTERPOLATION bilinear")
    cropped = {**HALVES, "RESIZE": "crop"}
    assert note_on("open_clip:ViT-B-16-SigLIP", cropped).endswith("INPUT.RESIZE squash")
    assert note_on("open_clip:ViT-B-32/laion2b_s34b_b79k", cropped) != ""
    assert note_on("open_clip:ViT-B-32/laion2b_s34b_b79k", CLIPS) == ""
