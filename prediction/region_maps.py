"""Region maps: how similar a class is to each region of a picture, drawn over the picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from modeling.encoders.features import Features
from prediction.trained_model import TrainedModel

# Dark blue over grey to yellow: lightness rises throughout, which every kind of colour vision sees.
RAMP = ((0, 32, 77), (124, 123, 120), (255, 234, 70))
_OPACITY = 0.65  # of the ramp above the grey picture
_GREYS = (64, 192)  # black and white of that picture: its own shades must not pass for the ramp's


def looks_at_regions(run: TrainedModel) -> bool:
    """Whether a model's scores depend on regions of the picture beside the whole of it."""
    return run.model.clip.uses_regions


def region_cosines(run: TrainedModel, features: Features) -> Tensor:
    """Similarity [B, R, C] that each region would give its image, were it the only region.

    Of several views it is the first one, which is plain (`region_grid`).

    That is the method's own similarity (`PromptModel.cosines`), whatever its prompts are: of
    DualCoOp, for one, the cosine with the positive prompt minus that with the negative one. A
    share of the whole image, where the method takes one, is the same in all regions.

    Args:
        run: a trained model that looks at regions.
        features: of B images.

    Returns:
        In fp32; R leaves out a ResNet's mean token (MODEL.DENSE.MEAN_TOKEN), which has no place.
    """
    features, _ = run.model.clip.first_view(features)
    local = features.local_features  # [B, R, D]
    if run.cfg.MODEL.DENSE.MEAN_TOKEN:
        local = local[:, 1:]
    images, regions, width = local.shape
    whole = features.global_features.repeat_interleave(regions, dim=0)  # [B R, D]
    single = Features(whole, local.reshape(images * regions, 1, width))
    with torch.inference_mode():
        return run.model.cosines(single, run.text).float().unflatten(0, (images, regions))


def region_map(run: TrainedModel, features: Features, column: int) -> Tensor:
    """Similarity of one class to the regions of one image, as they lie: [h, w] on the CPU.

    Args:
        run: a trained model that looks at regions.
        features: of one image.
        column: of the class.
    """
    rows = region_grid(run, features)[0]
    return region_cosines(run, features)[0, :, column].unflatten(0, (rows, -1)).cpu()


def region_grid(run: TrainedModel, features: Features) -> tuple[int, int]:
    """Rows and columns of the regions that `region_cosines` tells of.

    Args:
        run: a trained model that looks at regions.
        features: of its images.
    """
    height, width = view_size(run, features)
    stride = run.model.clip.image_encoder.stride
    return height // stride, width // stride


def view_size(run: TrainedModel, features: Features) -> tuple[int, int]:
    """Height and width in pixels of the view that `region_cosines` tells of."""
    return tuple(run.model.clip.first_view(features)[1] or run.cfg.INPUT.SIZE)


def seen_part(inputs: Mapping[str, Any], width: int, height: int) -> tuple[float, ...]:
    """The part of a picture that the model sees: left, top, right and bottom in its pixels.

    Args:
        inputs: the config's INPUT keys; SIZE and RESIZE count.
        width: of the picture, in pixels.
        height: likewise.
    """
    if inputs["RESIZE"] != "crop":
        return 0.0, 0.0, float(width), float(height)
    rows, columns = inputs["SIZE"]
    scale = min(width, height) / max(rows, columns)  # pixels of the picture for one of the model's
    across, down = columns * scale, rows * scale
    left, top = (width - across) / 2, (height - down) / 2
    return left, top, left + across, top + down


def draw_map(picture: Image.Image, values: Tensor, part: tuple[float, ...]) -> Image.Image:
    """A picture in grey with a region map over the part that the model sees.

    Args:
        picture: RGB.
        values: similarities [h, w]; the lowest is drawn dark blue, the highest yellow.
        part: of `seen_part`, for a picture of this size.

    Returns:
        RGB, of the picture's size. Each region is one plain rectangle.
    """
    dark, light = _GREYS
    grey = picture.convert("L").point(lambda level: dark + level * (light - dark) // 255)
    grey = grey.convert("RGB")
    left, top, right, bottom = (round(edge) for edge in part)
    box = (left, top, max(right, left + 1), max(bottom, top + 1))
    colours = Image.fromarray(_coloured(values.numpy()))
    size = (box[2] - box[0], box[3] - box[1])
    seen = Image.blend(grey.crop(box), colours.resize(size, Image.Resampling.NEAREST), _OPACITY)
    grey.paste(seen, box[:2])
    return grey


def _coloured(values: np.ndarray) -> np.ndarray:
    """The ramp's colours of values [h, w]: uint8 [h, w, 3]."""
    spread = float(np.ptp(values))
    shares = (values - values.min()) / spread if spread > 0 else np.full(values.shape, 0.5)
    places = np.linspace(0, 1, len(RAMP))
    channels = [np.interp(shares, places, channel) for channel in zip(*RAMP, strict=True)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)
