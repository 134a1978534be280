"""Backbones of other libraries give the libraries' own features, and say what they cannot do."""

from __future__ import annotations

import copy
import json
import shutil
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

from loading.cache.feature_key import clip_digest, encoder_key
from modeling.clip.precision import PRECISIONS
from modeling.encoders.frozen_clip import FrozenClip, RegionOptions
from modeling.towers import open_clip_model
from modeling.towers.backbones import find_backbone, load_backbone
from modeling.towers.dual_tower import DualTower
from tests.helpers.models.small_towers import (
    HUGGING_FACES,
    KINDS,
    LENGTH,
    OPEN_CLIPS,
    SIDE,
    WITHOUT_REGIONS,
)

assert_close = partial(torch.testing.assert_close, atol=1e-5, rtol=0)

TEXTS = ["a cat", "a photo of a dog and a traffic light on the wall", "tv"]
FOREIGN = ("siglip", "eva", "mobileclip", "hf_siglip")
VIT = {"eva": "last"}


def library_features(model, images, tokens):
    """Of images and texts, L2-normalised, by the library's own methods."""
    with torch.no_grad():
        if hasattr(model, "get_image_features"):
            found = [model.get_image_features(images), model.get_text_features(tokens)]
        else:
            found = [model.encode_image(images), model.encode_text(tokens)]
    return [normalize(getattr(f, "pooler_output", f), dim=-1) for f in found]


def load(small_towers, kind, **options):
    return FrozenClip.load(str(small_towers.folder(kind)), **options)


@pytest.fixture
def images():
    return torch.rand(3, 3, SIDE, SIDE)


@pytest.mark.parametrize("kind", [*KINDS, *WITHOUT_REGIONS])
def test_features_are_the_librarys(kind, small_towers, images):
    clip = load(small_towers, kind)
    tokens = clip.tokenizer.rows(TEXTS)
    image, text = library_features(small_towers.model(kind), images, tokens)
    assert isinstance(clip.clip_model, DualTower) == (kind in (*FOREIGN, *WITHOUT_REGIONS))
    with torch.no_grad():
        torch.testing.assert_close(
            clip.encode_images(images).global_features, image, atol=1e-5, rtol=0
        )
        for found in (
            clip.text_encoder.encode_tokens(tokens),
            clip.encode_texts(tokens).global_features,
        ):
            assert_close(found, text)


@pytest.mark.parametrize("kind", FOREIGN)
def test_the_logits_scale_and_bias_are_the_librarys(kind, small_towers):
    clip, model = load(small_towers, kind), small_towers.model(kind)
    bias = getattr(model, "logit_bias", None)
    assert clip.logit_scale == pytest.approx(float(model.logit_scale.detach().exp()))
    assert clip.logit_bias == pytest.approx(0.0 if bias is None else float(bias.detach()))
    if bias is None:
        assert clip.cosine_offset is None
    else:
        at_offset = model.logit_scale.exp() * clip.cosine_offset + bias
        assert float(at_offset.detach()) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("kind", FOREIGN)
def test_every_precision_is_near_fp32(kind, small_towers, images):
    regions = RegionOptions(vit=VIT.get(kind, "value"))
    with torch.no_grad():
        exact = load(small_towers, kind, regions=regions).encode_images(images)
        for precision in set(PRECISIONS) - {"fp32"}:
            clip = load(small_towers, kind, precision=precision, regions=regions)
            found = clip.encode_images(images)
            assert (found.global_features - exact.global_features).abs().max() < 0.05
            assert (found.local_features - exact.local_features).abs().max() < 0.05
            assert clip.encode_texts(clip.tokenizer.rows(TEXTS)).mask.any(dim=1).all()


@pytest.mark.parametrize("kind", FOREIGN)
def test_no_two_towers_share_features(kind, small_towers, tmp_path):
    one, same = (load(small_towers, kind) for _ in range(2))
    key = encoder_key(one.image_encoder, "fp32", one.device)
    assert key == encoder_key(same.image_encoder, "fp32", one.device)
    assert clip_digest(one.clip_model) == clip_digest(same.clip_model)
    folder = shutil.copytree(small_towers.folder(kind), tmp_path / "other")
    name = "config.json" if kind in HUGGING_FACES else "open_clip_config.json"
    content = json.loads((folder / name).read_text())  # the same weights with other norms
    if kind in HUGGING_FACES:
        content["text_config"]["layer_norm_eps"] = 0.1
    else:
        content["model_cfg"]["text_cfg"]["norm_kwargs"] = {"eps": 0.1}
    (folder / name).write_text(json.dumps(content))
    assert clip_digest(one.clip_model) != clip_digest(load_backbone(str(folder)))
    keys = [load(small_towers, other).image_encoder for other in FOREIGN if other != kind]
    assert key["weights"] not in [encoder_key(e, "fp32", one.device)["weights"] for e in keys]


def test_a_file_in_half_precision_computes_in_fp32(small_towers, tmp_path, images):
    for kind in ("siglip", "hf_siglip"):
        folder = shutil.copytree(small_towers.folder(kind), tmp_path / kind)
        (path,) = folder.glob("*.safetensors")
        save_file({name: value.half() for name, value in load_file(path).items()}, path)
        clip, exact = FrozenClip.load(str(folder)), load(small_towers, kind)
        tokens = clip.tokenizer.rows(TEXTS)
        for name, given in (("encode_images", images), ("encode_texts", tokens)):
            found, expected = (getattr(one, name)(given).global_features for one in (clip, exact))
            torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)
        assert {p.dtype for p in clip.clip_model.parameters()} == {torch.float32}


def test_siglip_reads_whole_rows_at_their_last_position(small_towers):
    for kind in ("siglip", "hf_siglip"):
        clip = load(small_towers, kind)
        kind_of_text = clip.text_encoder.kind
        assert not kind_of_text.causal and kind_of_text.reads_last
        assert clip.tokenizer.rows(["a cat"]).shape == (1, LENGTH)
        assert clip.tokenizer.start == () and clip.tokenizer.pad == clip.tokenizer.end == 1


@pytest.mark.parametrize("kind", OPEN_CLIPS)
def test_an_architecture_by_name_takes_a_file(kind, small_towers, tmp_path, images):
    open_clip = pytest.importorskip("open_clip", reason="open_clip_torch is not installed")
    folder = shutil.copytree(small_towers.folder(kind), tmp_path / "weights")
    (folder / "open_clip_config.json").unlink()
    (tmp_path / f"small-{kind}.json").write_text(json.dumps(OPEN_CLIPS[kind]))
    open_clip.add_model_config(tmp_path / f"small-{kind}.json")
    for weights in (folder, folder / "open_clip_model.safetensors"):
        clip = FrozenClip.load(f"open_clip:small-{kind}/{weights}")
        tokens = clip.tokenizer.rows(TEXTS)
        image, text = library_features(small_towers.model(kind), images, tokens)
        assert_close(clip.encode_images(images).global_features, image)
        assert_close(clip.text_encoder.encode_tokens(tokens), text)
        assert isinstance(clip.clip_model, DualTower) == (kind in FOREIGN)


def test_clips_own_towers_stay_clips(small_towers):
    for kind in ("native", "custom_text", "hf_clip"):
        assert find_backbone(str(small_towers.folder(kind))).is_clip
    assert find_backbone("tiny").is_clip


def test_a_missing_tokenizer_says_where_it_belongs(small_towers, tmp_path, monkeypatch):
    monkeypatch.setattr(open_clip_model, "published_tokenizer", lambda *_: None)
    advice = {"siglip": "hf download nobody/nothing tok", "hf_siglip": "AutoTokenizer"}
    for kind, words in advice.items():
        folder = shutil.copytree(small_towers.folder(kind), tmp_path / kind)
        (folder / "tokenizer.json").unlink()
        with pytest.raises(ValueError, match=f"{folder}.*tokenizer.json.*{words}"):
            load_backbone(str(folder))


@pytest.mark.parametrize(
    ("section", "options", "reason"),
    [
        ("text_cfg", {"hf_model_name": "roberta-base"}, "the language model roberta-base"),
        ("text_cfg", {"pool_type": "first"}, "pool_type first"),
        ("text_cfg", {"pool_type": []}, r"pool_type \[\]"),
        ("text_cfg", {"tokenizer_kwargs": ["clean"]}, "tokenizer has options"),
        ("text_cfg", {"tokenizer_kwargs": {"clean": []}}, "tokenizer has options"),
        ("text_cfg", {"embed_cls": True}, "CoCa"),
        ("text_cfg", {"ls_init_value": 0.1}, "blocks of its text tower are not CLIP's"),
        ("text_cfg", {"vocab_size": 100}, "names no tokenizer of 100 tokens"),
        ("text_cfg", {"tokenizer_kwargs": {"clean": "canonicalize"}}, "tokenizer has options"),
        ("text_cfg", {"pool_type": "eos"}, "reads texts at 2 .pool_type eos"),
        ("text_cfg", {"nonsense": 1}, "cannot build .*nonsense"),
        ("vision_cfg", {"timm_model_pretrained": True}, "downloaded by timm"),
        ("vision_cfg", {"timm_model_name": "hf-hub:someone/model"}, "downloaded by timm"),
        (
            "vision_cfg",
            {"timm_model_name": "no_such_tower"},
            "cannot build .*no_such_tower",
        ),
    ],
)
def test_what_cannot_be_prompted_is_refused(section, options, reason, small_towers, tmp_path):
    open_clip = pytest.importorskip("open_clip", reason="open_clip_torch is not installed")
    small_towers.model("eva")
    config = copy.deepcopy(OPEN_CLIPS["eva"])
    config[section] |= options
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    config.pop("custom_text")
    weights = {"visual.conv1.weight": torch.zeros(1)}
    if "token" in reason or "reads texts at" in reason:  # which is seen when all else fits
        weights = open_clip.CustomTextCLIP(**config).state_dict()
    save_file(weights, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(ValueError, match=reason) as error:
        load_backbone(str(tmp_path))
    assert "\n" not in str(error.value)


def test_texts_may_end_in_padding_as_clipas(small_towers, tmp_path):
    folder = shutil.copytree(small_towers.folder("siglip"), tmp_path / "clipa")
    content = json.loads((folder / "open_clip_config.json").read_text())
    content["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"strip_sep_token": True}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    names = {"eos_token": "</s>", "pad_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    tokenizer = FrozenClip.load(str(folder)).tokenizer
    cat = tokenizer.encode("cat")
    assert tokenizer.rows(["cat"]).tolist() == [[*cat, *[0] * (LENGTH - 1)]]
    assert tokenizer.end_positions(tokenizer.rows(["a cat", "cat"])).tolist() == [2, 1]


def test_flexible_resolutions_are_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "siglip2"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="naflex.*fixed size"):
        find_backbone(str(tmp_path))


def test_weights_of_another_model_are_refused(small_towers, tmp_path):
    small_towers.model("eva")
    folder = shutil.copytree(small_towers.folder("siglip"), tmp_path / "mixed")
    source = small_towers.folder("eva") / "open_clip_model.safetensors"
    shutil.copy(source, folder / "open_clip_model.safetensors")
    with pytest.raises(ValueError, match="does not hold the weights of .*mixed"):
        load_backbone(str(folder))
