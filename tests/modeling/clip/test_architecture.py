from __future__ import annotations

import importlib

import pytest
import torch

from modeling.clip.architecture import (
    Architecture,
    Sizes,
    Tower,
    activation_of,
    assemble,
    not_openais,
    sizes_of,
)
from modeling.clip.loader import build_clip, tokenize
from tests.helpers.models.small_clip import RESOLUTION, random_clip
from tests.helpers.naive import naive_clip
from tests.helpers.naive.naive_clip import naive_image_features, naive_text_features

OTHERS = [
    Architecture("quickgelu"),
    Architecture("gelu"),
    Architecture("quickgelu", Tower(4, 1e-2), Tower(2, 1e-3)),
]


@pytest.fixture
def own(vit):
    """Tensors of a CLIP whose attention looks at several tokens, so that heads count."""
    calm = ("transformer.", "visual.transformer.")
    return {
        name: value / 4 + 0.05 * torch.randn_like(value) if name.startswith(calm) else value
        for name, value in vit.state_dict().items()
    }


def with_wider_mlps(own, by=40):
    """The same tensors with more channels in every MLP."""
    found = dict(own)
    for name, value in own.items():
        if "mlp.c_fc" in name:
            found[name] = torch.cat([value, value[:by].flip(0)])
        elif name.endswith("mlp.c_proj.weight"):
            found[name] = torch.cat([value, value[:, :by].flip(1)], dim=1)
    return found


@pytest.mark.parametrize("widen", [False, True])
@pytest.mark.parametrize("architecture", OTHERS)
def test_features_are_those_of_the_architecture(architecture, widen, own):
    own = with_wider_mlps(own) if widen else own
    built = build_clip(own, torch.float32, "the test", architecture)
    assert activation_of(built) == architecture.activation
    image, tokens = torch.rand(3, 32, 32), tokenize(["two dogs"])
    exact = {name: value.double() for name, value in own.items()}
    activation = getattr(naive_clip, architecture.activation)
    seen, read = architecture.image, architecture.text
    expected = naive_image_features(exact, image.double(), seen.heads or 1, seen.eps, activation)
    torch.testing.assert_close(
        built.encode_image(image[None])[0].double(), expected, atol=1e-5, rtol=1e-5
    )
    expected = naive_text_features(exact, tokens[0], read.heads or 1, read.eps, activation)
    torch.testing.assert_close(
        built.encode_text(tokens)[0].double(), expected, atol=1e-5, rtol=1e-5
    )


def test_architectures_differ_in_their_features(own):
    image, tokens = torch.rand(1, 3, 32, 32), tokenize(["two dogs"])
    others = [*OTHERS[:2], *(Architecture(image=t, text=t) for t in (Tower(2), Tower(eps=1e-3)))]
    built = [build_clip(own, torch.float32, "the test", other) for other in others]
    for features in (
        [model.encode_image(image) for model in built],
        [model.encode_text(tokens) for model in built],
    ):
        assert not any(torch.allclose(features[0], other, atol=1e-4) for other in features[1:])


def test_sizes_are_read_from_the_tensors():
    assert sizes_of(random_clip("ViT").state_dict()) == Sizes(32, 32, 2, 64, 8, 77, 49408, 64, 2)
    resnet = sizes_of(random_clip("RN").state_dict())
    assert resnet == Sizes(32, 64, (1, 1, 1, 1), 8, None, 77, 49408, 64, 2)


def test_a_resnets_pool_has_the_heads_it_is_told(tmp_path):
    own = random_clip("RN").state_dict()
    architecture = Architecture(image=Tower(heads=8))
    built = build_clip(own, torch.float32, "the test", architecture)
    assert built.visual.attnpool.num_heads == 8
    images = torch.rand(1, 3, RESOLUTION["RN"], RESOLUTION["RN"])
    assert not torch.allclose(built.encode_image(images), random_clip("RN").encode_image(images))


def test_nothing_is_allocated_before_the_tensors_fit(vit):
    package = importlib.import_module("clip.model")
    model = assemble(package, vit.state_dict(), Architecture())
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"token_embedding.weight": torch.zeros(32000, 64)}, "vocabulary has 32000 tokens"),
        ({"positional_embedding": torch.zeros(32, 64)}, "texts have 32 positions, expected 77"),
        ({"positional_embedding": torch.zeros(9999, 64)}, "texts have 9999 positions"),
        ({"visual.positional_embedding": torch.zeros(16, 64)}, "not those of a square"),
        ({"visual.extra": torch.zeros(1)}, "visual.extra"),
        ({"text_projection": None}, "it lacks 'text_projection'"),
    ],
)
def test_what_does_not_fit_is_named(change, message, vit):
    own = {**vit.state_dict(), **change}
    own = {name: value for name, value in own.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        build_clip(own, torch.float32, "the test")


@pytest.mark.parametrize("tower", ["image", "text"])
def test_heads_must_divide_the_width(tower, vit):
    architecture = Architecture(**{tower: Tower(heads=5)})
    with pytest.raises(ValueError, match=f"{tower} tower of width 64 cannot have 5 heads"):
        build_clip(vit.state_dict(), torch.float32, "the test", architecture)


def test_what_openais_constructors_cannot_build_is_named():
    own, other = random_clip("ViT").state_dict(), Architecture("gelu", Tower(2, 1e-6), Tower())
    towers = {
        name: build_clip(tensors, torch.float32, "the test", architecture).visual
        for name, tensors, architecture in (
            ("openai", own, Architecture(image=Tower(heads=2))),
            ("other", with_wider_mlps(own), other),
            ("resnet", random_clip("RN").state_dict(), other),
        )
    }
    assert not_openais(towers["openai"]) == not_openais(towers["resnet"]) == []
    assert not_openais(towers["other"]) == [
        "GELU in place of QuickGELU",
        "norms with an eps of 1e-06",
        "an MLP of 296 channels",
    ]
