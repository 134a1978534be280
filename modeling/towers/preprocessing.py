"""What a backbone was trained on: colours and sizes of images, as its library writes them down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.readers.json_files import read_json
from modeling.clip.configs import OPEN_CLIP_CONFIG, normalisation_note
from modeling.towers.backbones import Backbone, find_backbone

_HUGGING_FACES = "preprocessor_config.json"
_RESIZES = {"squash": "squash", "shortest": "crop"}  # open_clip's resize_mode to INPUT.RESIZE
_FILTERS = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers, in Hugging Face's resample


def preprocessing_note(name: str, inputs: Mapping[str, Any]) -> str:
    """One line if a backbone was trained on other images than a run makes; "" if not.

    Args:
        name: MODEL.BACKBONE.NAME.
        inputs: the config's INPUT keys.

    Raises:
        ValueError: the file that says it is damaged.
    """
    backbone = find_backbone(name)
    if backbone.is_clip and not _of_tag(backbone):
        return normalisation_note(backbone.weights, inputs["PIXEL_MEAN"], inputs["PIXEL_STD"])
    own = _input_keys(_of_tag(backbone) or _beside(backbone))
    if backbone.is_clip:  # whose pictures this project squashes by default, whatever was done there
        own = {key: value for key, value in own.items() if key.startswith("PIXEL")}
    words = [
        f'INPUT.{key} "{value}"' if isinstance(value, list) else f"INPUT.{key} {value}"
        for key, value in own.items()
        if not _alike(value, inputs[key])
    ]
    if not words:
        return ""
    return f"{name} was trained on other images than this run makes. Add: {' '.join(words)}"


def _of_tag(backbone: Backbone) -> dict[str, Any]:
    return backbone.open_clip.preprocessing if backbone.open_clip else {}


def _beside(backbone: Backbone) -> dict[str, Any]:
    """The preprocessing in the file beside a backbone's weights."""
    name = _HUGGING_FACES if backbone.is_siglip else OPEN_CLIP_CONFIG
    path: Path = backbone.weights.parent / name
    content = read_json(path) if path.is_file() else None
    content = content.get("preprocess_cfg", content) if isinstance(content, dict) else {}
    return content if isinstance(content, dict) else {}


def _input_keys(said: Mapping[str, Any]) -> dict[str, Any]:
    """What a library says of images, as INPUT keys; what it leaves out, or garbles, is left out."""
    found: dict[str, Any] = {}
    for key, names in {
        "PIXEL_MEAN": ("mean", "image_mean"),
        "PIXEL_STD": ("std", "image_std"),
    }.items():
        value = next((said[name] for name in names if name in said), None)
        if isinstance(value, (list, tuple)) and [type(v) for v in value] == [float] * 3:
            found[key] = list(value)
    if said.get("resize_mode") in _RESIZES:
        found["RESIZE"] = _RESIZES[said["resize_mode"]]
    filters = said.get("interpolation", _FILTERS.get(said.get("resample")))
    if filters in _FILTERS.values():
        found["INTERPOLATION"] = filters
    return found


def _alike(one: Any, other: Any) -> bool:  # noqa: ANN401 - a text or three numbers
    if isinstance(one, str):
        return one == other
    return all(abs(a - b) < 1e-3 for a, b in zip(one, other, strict=True))
