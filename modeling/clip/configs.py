"""What the configs beside weight files say of a CLIP: Hugging Face's and open_clip's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.readers.json_files import read_json
from common.readers.pickles.vocabulary import printable
from modeling.clip.architecture import HEAD_WIDTH, VOCABULARY, Architecture, Sizes, Tower
from modeling.clip.formats import HUGGING_FACE, Format

OPEN_CLIP_CONFIG = "open_clip_config.json"
_PREPROCESSORS = ("preprocessor_config.json", OPEN_CLIP_CONFIG)
_END_TOKENS = (VOCABULARY - 1, 2)  # 2 stands for "the largest id" in configs of before 2023
_HUGGING_FACES = {"quick_gelu": "quickgelu", "gelu": "gelu"}
_OPEN_CLIPS_ONLY = {  # key: what `clip.model.CLIP` does; other values leave no trace in the tensors
    "vision_cfg": {"pool_type": "tok", "act_kwargs": None, "attentional_pool": False},
    "text_cfg": {"pool_type": "argmax", "act_kwargs": None, "no_causal_mask": False},
}

_SHARED = {"layers", "width", "mlp_ratio", "norm_kwargs"}
_PLAIN = {  # keys of open_clip's model configs that CLIP's own towers have
    "model_cfg": {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text"},
    "vision_cfg": {*_SHARED, "head_width", "image_size", "patch_size"},
    "text_cfg": {*_SHARED, "context_length", "heads", "vocab_size"},
}


@dataclass(frozen=True)
class ClipConfig:
    """A config as it counts here.

    Attributes:
        path: of the file.
        architecture: what the tensors do not tell.
        sizes: fields of `Sizes` to what the config says of them.
    """

    path: Path
    architecture: Architecture
    sizes: Mapping[str, object]

    def check_sizes(self, sizes: Sizes) -> None:
        """Refuse tensors of another model than the config's.

        Raises:
            ValueError: with the first size that differs.
        """
        for name, wanted in self.sizes.items():
            if (found := getattr(sizes, name)) != wanted:
                raise ValueError(
                    f"{self.path} is of another model: {name.replace('_', ' ')} "
                    f"{printable(wanted)} there, {found} in the weights"
                )


def config_beside(weights: Path, source: Format) -> ClipConfig | None:
    """The config of a format that lies beside a weight file.

    Args:
        weights: the weight file.
        source: its format.

    Returns:
        The config; None where there is none, or one that is not of a CLIP.

    Raises:
        ValueError: it is no JSON, has values that no CLIP has, or says what cannot be followed.
    """
    path = weights.parent / source.config
    if not path.is_file():
        return None
    content = read_json(path)
    if source is HUGGING_FACE:
        return _hugging_faces(path, content)
    return open_clip_config(path, content)


class _Section:
    """Part of a config, whose values are checked as they are read."""

    def __init__(self, path: Path, name: str, content: Mapping[str, Any]) -> None:
        self.path, self.name, self.content = path, name, content

    def number(self, key: str, default: float, kind: type = int) -> Any:  # noqa: ANN401
        """A positive number; those of `kind` int have no fraction."""
        value = self.content.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, kind)) or not 0 < value < 1e9:
            raise self.wrong(key, "a positive number")
        return value

    def side(self, key: str, default: int) -> int:
        """A side in pixels, which may be given as two alike."""
        value = self.content.get(key, default)
        if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(key, "one number of pixels")
        return value

    def wrong(self, key: str, expected: str) -> ValueError:
        """The error about a value."""
        value = printable(self.content.get(key, "left out"))
        return ValueError(f"{self.path}: {self.name}.{key} is {value}, expected {expected}")


def _hugging_faces(path: Path, content: object) -> ClipConfig | None:
    """A CLIPModel's config.json, where values that are the library's defaults may be left out."""
    if not isinstance(content, dict) or content.get("model_type", "clip") != "clip":
        return None
    image, text = (_hugging_face_section(path, content, name) for name in ("vision", "text"))
    if image is None or text is None:
        return None
    if text.content.get("eos_token_id", _END_TOKENS[0]) not in _END_TOKENS:
        raise text.wrong("eos_token_id", f"{_END_TOKENS[0]}, CLIP's own end token")
    acts = [section.content.get("hidden_act", "quick_gelu") for section in (image, text)]
    if acts[0] not in list(_HUGGING_FACES):  # of a file, so that it may not be hashable
        raise image.wrong("hidden_act", " or ".join(_HUGGING_FACES))
    if acts[0] != acts[1]:
        raise text.wrong("hidden_act", f"{acts[0]}, as in the image tower")
    towers = [
        Tower(
            section.number("num_attention_heads", heads),
            section.number("layer_norm_eps", 1e-5, float),
        )
        for section, heads in ((image, 12), (text, 8))
    ]
    sizes = {
        "features": _Section(path, "config", content).number("projection_dim", 512),
        "image_size": image.side("image_size", 224),
        "image_width": image.number("hidden_size", 768),
        "image_layers": image.number("num_hidden_layers", 12),
        "patch_size": image.side("patch_size", 32),
        "context_length": text.number("max_position_embeddings", 77),
        "text_width": text.number("hidden_size", 512),
        "text_layers": text.number("num_hidden_layers", 12),
    }
    return ClipConfig(path, Architecture(_HUGGING_FACES[acts[0]], *towers), sizes)


def _hugging_face_section(path: Path, content: Mapping[str, Any], tower: str) -> _Section | None:
    """A tower's part; older configs have it twice, and the second one counts."""
    parts = [content.get(f"{tower}_config{suffix}") for suffix in ("", "_dict")]
    parts = [part for part in parts if isinstance(part, dict)]
    merged = {key: value for part in parts for key, value in part.items()}
    return _Section(path, f"{tower}_config", merged) if parts else None


def open_clip_config(path: Path, content: object) -> ClipConfig | None:
    """An open_clip_config.json, or one of the library's own model configs, of a CLIP.

    Args:
        path: where it comes from, for messages.
        content: what is there.

    Returns:
        The config; None if the content is none.

    Raises:
        ValueError: values that no CLIP has, or that cannot be followed.
    """
    model = content.get("model_cfg", content) if isinstance(content, dict) else None
    if not isinstance(model, dict) or not all(
        isinstance(model.get(name), dict) for name in _OPEN_CLIPS_ONLY
    ):
        return None
    whole = _Section(path, "model_cfg", model)
    image, text = (_Section(path, name, model[name]) for name in _OPEN_CLIPS_ONLY)
    for section in (image, text):
        for key, wanted in _OPEN_CLIPS_ONLY[section.name].items():
            if section.content.get(key, wanted) != wanted:
                raise section.wrong(key, f"{wanted}, which is all that a CLIP of OpenAI's can do")
    layers, width = image.content.get("layers", 12), image.number("width", 768)
    sizes = {
        "features": whole.number("embed_dim", 512),
        "image_size": image.side("image_size", 224),
        "image_width": width,
        "image_layers": tuple(layers) if isinstance(layers, list) else layers,
        "context_length": text.number("context_length", 77),
        "text_width": text.number("width", 512),
        "text_layers": text.number("layers", 12),
    }
    channels = 32 * width if isinstance(layers, list) else width  # a ResNet's last map is wider
    heads = channels // image.number("head_width", HEAD_WIDTH)
    is_quick = model.get("quick_gelu", False)
    if not isinstance(is_quick, bool):
        raise whole.wrong("quick_gelu", "true or false")
    towers = (Tower(heads, _eps(image)), Tower(text.number("heads", 8), _eps(text)))
    return ClipConfig(path, Architecture("quickgelu" if is_quick else "gelu", *towers), sizes)


def is_plain_clip(config: Mapping[str, Any]) -> bool:
    """Whether a model config of open_clip's is of CLIP's own two towers.

    Args:
        config: the library's model config; keys that are not known count as something else.
    """
    if set(config) - _PLAIN["model_cfg"]:
        return False
    for name, plain in _OPEN_CLIPS_ONLY.items():
        section = config.get(name)
        if not isinstance(section, dict) or set(section) - _PLAIN[name] - set(plain):
            return False
        if any(section.get(key, value) != value for key, value in plain.items()):
            return False
    return config["text_cfg"].get("vocab_size", VOCABULARY) == VOCABULARY


def _eps(section: _Section) -> float:
    options = section.content.get("norm_kwargs") or {}
    if not isinstance(options, dict) or set(options) - {"eps"}:
        raise section.wrong("norm_kwargs", "eps alone")
    return _Section(section.path, f"{section.name}.norm_kwargs", options).number("eps", 1e-5, float)


def normalisation_note(weights: Path, mean: Sequence[float], std: Sequence[float]) -> str:
    """One line if the config beside a weight file normalises images in another way; "" if not.

    Args:
        weights: the weight file.
        mean: INPUT.PIXEL_MEAN [3].
        std: INPUT.PIXEL_STD [3].
    """
    for name in _PREPROCESSORS:
        path = weights.parent / name
        content = read_json(path) if path.is_file() else None
        content = content.get("preprocess_cfg", content) if isinstance(content, dict) else {}
        own = [colours(content, key) for key in ("mean", "std")]
        if None in own:
            continue
        if alike(own[0], mean) and alike(own[1], std):
            return ""
        return (
            f"{os.fspath(path)} normalises images with other colours than this run. To follow it, "
            f'add: INPUT.PIXEL_MEAN "{own[0]}" INPUT.PIXEL_STD "{own[1]}"'
        )
    return ""


def colours(content: Mapping[str, Any], key: str) -> list[float] | None:
    """What a library says of the colours of images.

    Args:
        content: of its config.
        key: "mean" or "std", as open_clip has it; Hugging Face says `image_mean`.

    Returns:
        Three numbers; None where there are none.
    """
    values = content.get(key, content.get(f"image_{key}"))
    plain = isinstance(values, (list, tuple)) and len(values) == 3
    return list(values) if plain and all(type(v) in (int, float) for v in values) else None


def alike(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two colours [3] are the same but for their last digits."""
    return all(abs(a - b) < 1e-3 for a, b in zip(one, other, strict=True))
