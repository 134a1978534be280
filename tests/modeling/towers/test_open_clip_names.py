"""Names of open_clip's models."""

from __future__ import annotations

import pytest

from modeling.towers.open_clip_names import resolve

open_clip = pytest.importorskip("open_clip", reason="open_clip_torch is not installed")


@pytest.fixture
def no_network(monkeypatch):
    def fail(published):
        raise OSError("no network")

    monkeypatch.setattr(open_clip, "download_pretrained", fail)


@pytest.mark.parametrize("name", ["open_clip:ViT-B-16-SigLIP", "open_clip:ViT-B-16-SigLIP/webli"])
def test_weights_that_cannot_be_had_say_what_to_fetch_and_where_it_goes(name, no_network):
    with pytest.raises(ConnectionError) as error:
        resolve(name)
    text = str(error.value)
    assert "hf download timm/ViT-B-16-SigLIP " in text
    assert "open_clip:ViT-B-16-SigLIP/FOLDER" in text and "\n" not in text


def test_a_tag_brings_its_activation_and_its_preprocessing(monkeypatch, tmp_path):
    monkeypatch.setattr(open_clip, "download_pretrained", lambda published: str(tmp_path / "w.pt"))
    found = resolve("open_clip:ViT-B-16/dfn2b")
    assert found.weights == tmp_path / "w.pt"
    assert found.config["quick_gelu"] is True
    assert resolve("open_clip:ViT-B-16-SigLIP").preprocessing["resize_mode"] == "squash"


def test_a_file_needs_no_tag(tmp_path):
    (tmp_path / "clip.pt").write_bytes(b"")
    assert resolve(f"open_clip:ViT-B-32/{tmp_path / 'clip.pt'}").weights == tmp_path / "clip.pt"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "open_clip:ViT-B-16-SigLIP3",
            "no architecture 'ViT-B-16-SigLIP3'. Did you mean 'ViT-B-16-Sig",
        ),
        ("open_clip:", "no architecture ''"),
        ("open_clip:hf-hub:someone/model", "no architecture 'hf-hub:someone'"),
        ("open_clip:ViT-B-32", "no weights are named.*laion2b_s34b_b79k"),
        (
            "open_clip:ViT-B-32/laion2b",
            "'laion2b' is neither a file nor a tag.* Did you mean 'laion2b",
        ),
    ],
)
def test_names_that_are_none(name, message):
    with pytest.raises(ValueError, match=message):
        resolve(name)
