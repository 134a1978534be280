from __future__ import annotations

import hashlib
import importlib
import pickle
import sys
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from modeling.clip import loader as clip_loader
from modeling.clip.clip_file import _expand_token_embedding
from modeling.clip.loader import TINY, available_backbones, import_clip, load_clip, weight_path
from modeling.clip.precision import Precision
from modeling.encoders.image_encoder import ImageEncoder
from tests.helpers.models.small_clip import RESOLUTION, openai_weights, random_clip


def archive(clip_model, tower, path):
    """What OpenAI publishes: a traced model."""
    side = RESOLUTION[tower]
    traced = torch.jit.trace(
        clip_model, (torch.rand(2, 3, side, side), import_clip().tokenize(["a b", "c"]).long())
    )
    torch.jit.save(traced, path)


def save(kind, clip_model, tower, path):
    weights = openai_weights(clip_model)
    if kind == "torchscript":
        archive(clip_model, tower, path)
    elif kind == "state_dict":
        torch.save(weights, path)
    elif kind == "legacy":
        torch.save(weights, path, _use_new_zipfile_serialization=False)
    elif kind == "nested":
        torch.save({"state_dict": {f"module.{k}": v for k, v in weights.items()}, "epoch": 3}, path)
    else:
        save_file(weights, path)


KINDS = ("torchscript", "state_dict", "legacy", "nested", "safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_what_clip_itself_builds(kind, tower, clip_model, tmp_path):
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pt")
    save(kind, clip_model, tower, path)
    loaded = load_clip(str(path))
    theirs = importlib.import_module("clip.model").build_model(clip_model.state_dict()).float()
    side = RESOLUTION[tower]
    images, tokens = torch.rand(3, 3, side, side), import_clip().tokenize(["a cat", "dogs"])
    assert torch.equal(loaded.encode_image(images), theirs.encode_image(images))
    assert torch.equal(loaded.encode_text(tokens), theirs.encode_text(tokens))
    assert torch.equal(loaded.logit_scale, theirs.logit_scale)
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())


def test_fp32_files_are_not_rounded(vit, tmp_path):
    weights = openai_weights(vit)
    weights["text_projection"] = weights["text_projection"] + 1e-5
    torch.save(weights, tmp_path / "weights.pt")
    assert torch.equal(
        load_clip(str(tmp_path / "weights.pt")).text_projection, weights["text_projection"]
    )


@pytest.mark.parametrize("precision", ["fp16", "bf16", "amp"])
def test_precisions_are_close_to_fp32(precision, tower, clip_model, tmp_path):
    torch.save(openai_weights(clip_model), tmp_path / "weights.pt")
    path = str(tmp_path / "weights.pt")
    side = RESOLUTION[tower]
    images = torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(0))
    model = load_clip(path, precision)
    wanted, closeness = {
        "fp16": (torch.float16, 0.9999),
        "bf16": (torch.bfloat16, 0.99),
        "amp": (torch.float32, 0.99),  # bf16 arithmetic on a CPU
    }[precision]
    assert model.dtype is wanted
    with Precision(precision, torch.device("cpu")).autocast():
        features = ImageEncoder(model)(images).global_features
    exact = ImageEncoder(load_clip(path))(images).global_features
    assert features.dtype is torch.float32
    assert torch.nn.functional.cosine_similarity(features, exact).min() > closeness


def test_loading_leaves_the_random_stream_alone(vit, tmp_path):
    torch.save(openai_weights(vit), tmp_path / "weights.pt")
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load_clip(str(tmp_path / "weights.pt"))
    assert torch.equal(torch.rand(3), expected)


def test_nothing_in_a_file_is_executed(tmp_path):
    marker = tmp_path / "executed"

    class Malicious:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    path = tmp_path / "weights.pt"
    torch.save({"state_dict": {"a": Malicious()}}, path)
    with pytest.raises(ValueError, match="Cannot read"):
        load_clip(str(path))
    path.write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(ValueError, match="Cannot read"):
        load_clip(str(path))
    assert not marker.exists()


def test_an_archive_that_asks_for_code_is_refused(vit, tmp_path):
    marker = tmp_path / "executed"

    class Malicious:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/constants.pkl", b"")
        file.writestr("archive/data.pkl", pickle.dumps(Malicious(), protocol=2))
    with pytest.raises(ValueError, match="refused"):
        load_clip(str(path))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": torch.zeros(2)}, "does not hold a CLIP"),
        ([1, 2], "expected a dict of parameter name to tensor"),
    ],
)
def test_other_content_is_named(content, message, tmp_path):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=message):
        load_clip(str(tmp_path / "weights.pt"))


def test_damaged_files_are_named(vit, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(openai_weights(vit), path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="weights.pt"):
        load_clip(str(path))
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"12345678")
    with pytest.raises(ValueError, match="weights.safetensors"):
        load_clip(str(path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weight: weight.to(torch.int8), "int8 numbers in visual.proj.*floating point"),
        (lambda weight: weight.to(torch.complex64), "complex64 numbers in visual.proj"),
        (lambda weight: weight * float("nan"), "infinite or NaN values in visual.proj"),
    ],
)
@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_weights_that_no_model_can_compute_with_are_refused(change, message, kind, vit, tmp_path):
    path = tmp_path / f"clip.{kind}"
    state = {**openai_weights(vit), "visual.proj": change(vit.visual.proj.detach())}
    (torch.save if kind == "pt" else save_file)(state, path)
    with pytest.raises(ValueError, match=message):
        load_clip(str(path), "fp32", torch.device("cpu"))


def test_a_typo_gets_the_nearest_name():
    with pytest.raises(ValueError, match=r"Did you mean 'ViT-B/16'\?"):
        load_clip("ViT-B16")


def test_backbones_include_openais():
    assert {"tiny", "RN50", "RN101", "ViT-B/16", "ViT-B/32"} <= set(available_backbones())


class TestDownload:
    """A published file, with a local folder in the role of the server."""

    @pytest.fixture
    def published(self, vit, tmp_path, monkeypatch):
        source = tmp_path / "server"
        content = tmp_path / "small.pt"
        torch.save(openai_weights(vit), content)
        digest = hashlib.sha256(content.read_bytes()).hexdigest()
        (source / digest).mkdir(parents=True)
        target = source / digest / "RN50.pt"
        target.write_bytes(content.read_bytes())
        monkeypatch.setattr(clip_loader, "_published", lambda: {"RN50": target.as_uri()})
        monkeypatch.setattr(clip_loader, "_cache_folder", lambda: str(tmp_path / "cache"))
        return target

    def test_fetches_checks_and_loads(self, published, tmp_path):
        assert load_clip("RN50").visual.input_resolution == 32
        assert (tmp_path / "cache" / "RN50.pt").read_bytes() == published.read_bytes()
        published.unlink()  # the second time needs no server
        assert weight_path("RN50") == tmp_path / "cache" / "RN50.pt"

    def test_a_damaged_cached_file_is_fetched_again(self, published, tmp_path):
        cached = tmp_path / "cache" / "RN50.pt"
        cached.parent.mkdir()
        cached.write_bytes(b"broken")
        assert weight_path("RN50").read_bytes() == published.read_bytes()

    def test_wrong_bytes_are_thrown_away(self, published, tmp_path):
        published.write_bytes(b"something else")
        with pytest.raises(ValueError, match="SHA256"):
            load_clip("RN50")
        assert not (tmp_path / "cache" / "RN50.pt").exists()

    def test_offline_says_which_file_goes_where(self, published, tmp_path):
        published.unlink()
        with pytest.raises(ConnectionError) as error:
            load_clip("RN50")
        text = str(error.value)
        assert str(tmp_path / "cache" / "RN50.pt") in text
        assert published.parent.name in text  # the checksum
        assert published.as_uri() in text


def test_the_clipboard_manager_is_recognised(monkeypatch, tmp_path):
    (tmp_path / "clip.py").write_text("copy = paste = None\n")
    for name in [n for n in sys.modules if n == "clip" or n.startswith("clip.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match="clip-anytorch"):
        import_clip()
    sys.modules.pop("clip", None)


def test_import_leaves_no_stand_in_behind():
    import_clip()
    module = sys.modules.get("pkg_resources")
    assert module is None or module.__spec__ is not None


def test_tokens_outside_the_small_vocabulary_get_the_mean_row():
    rows, ids = torch.tensor([[1.0, 0.0], [3.0, 2.0]]), torch.tensor([5, 7], dtype=torch.int32)
    expanded = _expand_token_embedding(
        {"token_embedding.rows": rows, "token_embedding.ids": ids}, TINY
    )["token_embedding.weight"]
    assert expanded.shape == (49408, 2)
    assert torch.equal(expanded[7], rows[1])
    assert torch.equal(expanded[6], torch.tensor([2.0, 1.0]))


def test_random_clips_differ_by_seed():
    assert not torch.equal(random_clip(seed=0).text_projection, random_clip(seed=1).text_projection)
