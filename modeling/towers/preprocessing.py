"""What a backbone was trained on: colours and sizes of images, as its library writes them down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.readers.json_files import read_json
from modeling.clip.configs import OPEN_CLIP_CONFIG, alike, colours, normalisation_note
from modeling.towers.backbones import Backbone

_HUGGING_FACES = "preprocessor_config.json"
_RESIZES = {"squash": "squash", "shortest": "crop"}  # open_clip's resize_mode to INPUT.RESIZE
_FILTERS = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers, in Hugging Face's resample


def preprocessing_note(backbone: Backbone, inputs: Mapping[str, Any]) -> str:
    """One line if a backbone was trained on other images than a run makes; "" if not.

    Args:
        backbone: of the run.
        inputs: the config's INPUT keys.

    Raises:
        ValueError: the file that says it is damaged.
    """
    if backbone.is_clip and not _of_tag(backbone):
        return normalisation_note(backbone.weights, inputs["PIXEL_MEAN"], inputs["PIXEL_STD"])
    own = _input_keys(_of_tag(backbone) or _beside(backbone))
    if backbone.is_clip:  # whose pictures this project squashes by default, whatever was done there
        own = {key: value for key, value in own.items() if key.startswith("PIXEL")}
    words = [
        f'INPUT.{key} "{value}"' if isinstance(value, list) else f"INPUT.{key} {value}"
        for key, value in own.items()
        if not (alike(value, inputs[key]) if isinstance(value, list) else value == inputs[key])
    ]
    if not words:
        return ""
    return (
        f"{backbone.name} was trained on other images than this run makes. Add: {' '.join(words)}"
    )


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
    for key in ("mean", "std"):
        if (values := colours(said, key)) is not None:
            found[f"PIXEL_{key.upper()}"] = values
    if (resize := said.get("resize_mode")) in list(_RESIZES):  # of a file, maybe not hashable
        found["RESIZE"] = _RESIZES[resize]
    interpolation = said.get("interpolation")
    if (number := said.get("resample")) in list(_FILTERS):
        interpolation = _FILTERS[number]
    if interpolation in _FILTERS.values():
        found["INTERPOLATION"] = interpolation
    return found
