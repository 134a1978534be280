"""The deterministic part of preprocessing: PIL image to normalised tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torchvision.transforms import (
    CenterCrop,
    Compose,
    InterpolationMode,
    Normalize,
    Resize,
    ToTensor,
)

RESIZES = {
    "squash": "the whole picture, sides scaled separately to the input size",
    "crop": "shorter side scaled to the input size, then the central square, as CLIP does",
}


def fixed_transform(
    size: tuple[int, int],
    resize: str,
    interpolation: str,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Callable[[Any], Tensor]:
    """Preprocessing without any random part.

    Args:
        size: height and width in pixels.
        resize: one of `RESIZES`.
        interpolation: "bicubic", "bilinear" or "nearest".
        mean: of each colour channel, or None to leave colours in [0, 1].
        std: likewise.

    Returns:
        PIL image to tensor [3, H, W].

    Raises:
        ValueError: an unknown resize or interpolation.
    """
    modes = {mode.value: mode for mode in InterpolationMode}
    if interpolation not in modes:
        raise ValueError(
            f"INPUT.INTERPOLATION must be one of {list(modes)}, got {interpolation!r}."
        )
    mode = modes[interpolation]
    if resize == "squash":
        steps = [Resize(tuple(size), interpolation=mode)]
    elif resize == "crop":
        steps = [Resize(max(size), interpolation=mode), CenterCrop(tuple(size))]
    else:
        raise ValueError(f"INPUT.RESIZE must be one of {', '.join(RESIZES)}, got {resize!r}.")
    steps.append(ToTensor())
    if mean is not None:
        steps.append(Normalize(mean, std))
    return Compose(steps)
