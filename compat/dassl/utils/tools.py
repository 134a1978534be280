"""Small helpers: files, seeds, images and messages."""

from __future__ import annotations

import difflib
import json
import os
import random
import urllib.request
import warnings

import numpy as np
import PIL
import torch
from PIL import Image
from tqdm import tqdm

from common.files import MAX_BYTES, replacing, write_text
from common.readers.json_files import read_json as _read_json
from common.readers.picture_files import open_picture


def mkdir_if_missing(dirname: str) -> None:
    """Create a directory and its parents; an existing one (or "") is left alone."""
    if dirname:
        os.makedirs(dirname, exist_ok=True)


def check_isfile(fpath: str) -> bool:
    """Whether `fpath` is a file; warns if not."""
    is_file = os.path.isfile(fpath)
    if not is_file:
        warnings.warn(f'No file found at "{fpath}"', stacklevel=2)
    return is_file


def listdir_nohidden(path: str, sort: bool = False) -> list[str]:
    """Names in a directory that do not start with a dot."""
    names = [name for name in os.listdir(path) if not name.startswith(".")]
    return sorted(names) if sort else names


def read_json(fpath: str) -> object:
    """Content of a JSON file."""
    return _read_json(fpath, MAX_BYTES)


def write_json(obj: object, fpath: str) -> None:
    """Write `obj` as indented JSON."""
    write_text(fpath, json.dumps(obj, indent=4))


def read_image(path: str) -> Image.Image:
    """An image file as an RGB image."""
    with open_picture(path) as image:
        return image.convert("RGB")


def download_url(url: str, dst: str) -> None:
    """Download `url` to the file `dst`, with a progress bar."""
    print(f'* url="{url}"')
    print(f'* destination="{dst}"')
    with tqdm(unit="B", unit_scale=True) as bar, replacing(dst) as temporary:

        def report(_: int, block: int, total: int) -> None:
            bar.total = max(total, 0) or None
            bar.update(block)

        urllib.request.urlretrieve(url, temporary, report)


def set_random_seed(seed: int) -> None:
    """Seed random, numpy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)


def collect_env_info() -> str:
    """Versions of the system, torch and Pillow, as text for the log."""
    from torch.utils.collect_env import get_pretty_env_info

    return f"{get_pretty_env_info()}\n        Pillow ({PIL.__version__})"


def get_most_similar_str_to_a_from_b(a: str, b: list[str]) -> str | None:
    """The candidate in `b` most like `a`, the last one of equals; None if `b` is empty."""
    return max(
        reversed(b), key=lambda name: difflib.SequenceMatcher(None, a, name).ratio(), default=None
    )


def check_availability(requested: str, available: list[str]) -> None:
    """Check a name from a config.

    Raises:
        ValueError: `requested` is not in `available`; the message gives the nearest name.
    """
    if requested not in available:
        nearest = get_most_similar_str_to_a_from_b(requested, available)
        raise ValueError(
            f"The requested one is expected to belong to {available}, "
            f"but got [{requested}] (do you mean [{nearest}]?)"
        )


def tolist_if_not(x: object) -> list:
    """`x` itself if it is a list, otherwise a list that holds only `x`."""
    return x if isinstance(x, list) else [x]
