"""Small random models of other libraries, in folders as their libraries leave them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

SIDE = 32  # pixels of all of them
LENGTH = 24  # positions of SigLIP's texts
WORDS = "a photo of an and cat dog tv traffic light picture on the wall".split()
_CLIPS_TEXT = {"width": 32, "heads": 2, "layers": 2}
_SIGLIPS_TEXT = {
    **_CLIPS_TEXT,
    "context_length": LENGTH,
    "vocab_size": len(WORDS) + 3,
    "hf_tokenizer_name": "nobody/nothing",
    "tokenizer_kwargs": {"clean": "canonicalize"},
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6},
    "act_kwargs": {"approximate": "tanh"},
}
_VIT = {"width": 64, "layers": 2, "head_width": 16, "patch_size": 8, "image_size": SIDE}
OPEN_CLIPS: dict[str, dict[str, Any]] = {
    "native": {"embed_dim": 16, "vision_cfg": _VIT, "text_cfg": _CLIPS_TEXT},
    "custom_text": {
        "embed_dim": 16,
        "vision_cfg": _VIT,
        "text_cfg": _CLIPS_TEXT,
        "custom_text": True,
        "quick_gelu": True,
    },
    "siglip": {
        "embed_dim": 32,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": SIDE,
            "timm_model_name": "small_siglip_tower",
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": _SIGLIPS_TEXT,
    },
    "eva": {
        "embed_dim": 16,
        "custom_text": True,
        "vision_cfg": {
            "image_size": SIDE,
            "timm_model_name": "small_eva_tower",
            "timm_pool": "token",
            "timm_proj": None,
        },
        "text_cfg": _CLIPS_TEXT,
    },
    "mobileclip": {
        "embed_dim": 16,
        "custom_text": True,
        "vision_cfg": {
            "image_size": SIDE,
            "timm_model_name": "small_mobileclip_tower",
            "timm_pool": "avg",
            "timm_proj": None,
        },
        "text_cfg": {**_CLIPS_TEXT, "no_causal_mask": True},
    },
}


WITHOUT_REGIONS: dict[str, dict[str, Any]] = {
    "clipa": {
        "embed_dim": 16,
        "custom_text": True,
        "vision_cfg": {**_VIT, "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
        "text_cfg": {**_SIGLIPS_TEXT, "no_causal_mask": False, "proj_bias": False},
    },
}
HUGGING_FACES = {"hf_clip": "clip", "hf_siglip": "siglip"}
KINDS = (*OPEN_CLIPS, *HUGGING_FACES)


class SmallTowers:
    """Folders of the models of `KINDS`, each written when a test first asks for it; for reading.

    Args:
        root: an empty folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._models: dict[str, nn.Module] = {}

    def model(self, kind: str) -> nn.Module:
        """The library's own model; skips the test where the library is not installed."""
        library = "transformers" if kind in HUGGING_FACES else "open_clip"
        pytest.importorskip(library, reason=f"{library} is not installed")
        if kind not in self._models:
            write = write_hugging_face if kind in HUGGING_FACES else write_open_clip
            self._models[kind] = write(kind, self.root / kind)
        return self._models[kind]

    def folder(self, kind: str) -> Path:
        """The folder with the model's files."""
        self.model(kind)
        return self.root / kind


def shaken(model: nn.Module) -> nn.Module:
    """The model with no parameter or statistic left at 0 or 1, so that each one counts."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                noise = 0.05 * torch.randn_like(value)
                value += noise.abs() if name.endswith("running_var") else noise
    return model.eval()


def register_towers() -> None:
    """Tell timm of image towers as small as these tests need them."""
    import timm
    from timm.models.eva import Eva
    from timm.models.fastvit import FastVit
    from timm.models.vision_transformer import VisionTransformer

    small = {"img_size": SIDE, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    towers: dict[str, Callable[..., nn.Module]] = {
        "small_siglip_tower": lambda **own: VisionTransformer(**small, class_token=False, **own),
        "small_eva_tower": lambda **own: Eva(
            **small, qkv_fused=False, swiglu_mlp=True, scale_mlp=True, use_rot_pos_emb=True, **own
        ),
        "small_mobileclip_tower": lambda **own: FastVit(
            layers=(1, 1), embed_dims=(16, 32), mlp_ratios=(2, 2), downsamples=(False, True), **own
        ),
    }
    for name, make in towers.items():
        if name not in timm.list_models():
            timm.models.register_model(_entry(name, make))


def _entry(name: str, make: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """What timm calls, with more arguments than a module takes, under a name of its own."""

    def entry(pretrained: bool = False, **own: Any) -> nn.Module:
        assert not pretrained
        return make(**{key: own[key] for key in ("num_classes", "global_pool") if key in own})

    entry.__name__ = entry.__qualname__ = name
    entry.__module__ = __name__
    return entry


def write_tokenizer(folder: Path) -> None:
    """A tokenizer.json of whole words, with an end token that is the padding, too."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: i for i, word in enumerate(["<unk>", "</s>", ".", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"eos_token": "</s>", "pad_token": {"content": "</s>"}}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))


def write_open_clip(kind: str, folder: Path) -> nn.Module:
    """Write a model of open_clip's as its folders have it, by a kind from above, and return it."""
    import open_clip

    register_towers()
    config = {**OPEN_CLIPS, **WITHOUT_REGIONS}[kind]
    options = {key: value for key, value in config.items() if key != "custom_text"}
    make = open_clip.CustomTextCLIP if "custom_text" in config else open_clip.CLIP
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = shaken(make(**options))
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    whole = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    if "hf_tokenizer_name" in config["text_cfg"]:
        write_tokenizer(folder)
    return model


def write_hugging_face(kind: str, folder: Path) -> nn.Module:
    """Write a `CLIPModel` or a `SiglipModel`, by a kind of `HUGGING_FACES`, as its library does."""
    import transformers

    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    size["intermediate_size"] = 48
    image = {
        **size,
        "hidden_size": 64 if kind == "hf_clip" else 32,
        "image_size": SIDE,
        "patch_size": 8,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "hf_clip":
            config = transformers.CLIPConfig(
                text_config=size, vision_config=image, projection_dim=16
            )
            model = shaken(transformers.CLIPModel(config))
        else:
            text = {**size, "vocab_size": len(WORDS) + 3, "max_position_embeddings": LENGTH}
            config = transformers.SiglipConfig(text_config=text, vision_config=image)
            model = shaken(transformers.SiglipModel(config))
    model.save_pretrained(folder)
    if kind == "hf_siglip":
        write_tokenizer(folder)
    return model
