"""What scripts/bench.py measures on: CLIPs of published size and pictures of VOC's size.

The weights are random and the pictures are noise, for neither changes how long anything takes.
"""

from __future__ import annotations

import importlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from modeling.clip.loader import import_clip

# Arguments of `clip.model.CLIP`: embed_dim, then resolution, layers, width and patch size of the
# image tower, then context length, vocabulary, width, heads and layers of the text tower.
GEOMETRIES = {
    "ViT-B/16": (512, 224, 12, 768, 16, 77, 49408, 512, 8, 12),
    "RN50": (1024, 224, (3, 4, 6, 3), 64, None, 77, 49408, 512, 8, 12),
}
SIDES = {"tiny": 96, "ViT-B/16": 224, "RN50": 224}  # pixels
FOLDER = "pictures"  # of the set, below its root
_WIDTH, _HEIGHT, _QUALITY = 500, 375, 80  # with the noise below, 65 kB a file on average
_NOISE = 22.0  # standard deviation of a pixel
_VOC = (
    "aeroplane,bicycle,bird,boat,bottle,bus,car,cat,chair,cow,diningtable,dog,horse,motorbike,"
    "person,pottedplant,sheep,sofa,train,tvmonitor"
)
_COCO = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,"
    "stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,"
    "backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,"
    "baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,"
    "banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,"
    "oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)


@dataclass(frozen=True)
class Benchmark:
    """A long-tailed set that is imitated in its numbers.

    Attributes:
        names: of its C classes.
        train: training images.
        test: test images.
        mu: of the distribution-balanced loss, its authors' value for this set.
        neg_scale: likewise.
    """

    names: tuple[str, ...]
    train: int
    test: int
    mu: float
    neg_scale: float


BENCHMARKS = {
    20: Benchmark(tuple(_VOC.split(",")), 1142, 4952, 0.3, 5.0),
    80: Benchmark(tuple(_COCO.split(",")), 1909, 5000, 0.2, 2.0),
}


def write_weights(path: Path, backbone: str) -> None:
    """Write a CLIP of a published size with random weights, in fp16 as the published files are.

    Beside the weights stands the size of images, by which OpenAI's files are known.
    """
    import_clip()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip_model = importlib.import_module("clip.model").CLIP(*GEOMETRIES[backbone])
    state_dict = clip_model.state_dict()
    tensors = {
        name: value.half() if value.is_floating_point() else value
        for name, value in state_dict.items()
    }
    tensors["input_resolution"] = torch.tensor(clip_model.visual.input_resolution)
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)


def write_set(
    root: Path,
    names: tuple[str, ...],
    train: int,
    test: int,
    seed: int = 0,
    pictures: bool = True,
) -> None:
    """Write a set in the layout of ListLT below `root`/pictures.

    Labels are long-tailed, every class has an image, and each training image has one caption.

    Args:
        root: folder, made if need be.
        names: of C classes.
        train: number of training images.
        test: number of test images.
        seed: of pixels and labels.
        pictures: whether to write these, or empty files in their place.
    """
    folder = root / FOLDER
    (folder / "jpeg").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    labels = "".join(f"{name.replace(' ', '_')} {c}\n" for c, name in enumerate(names))
    (folder / "labels.txt").write_text(labels, encoding="utf-8")
    noise = rng.normal(0.0, _NOISE, (2 * _HEIGHT, 2 * _WIDTH, 3))
    captions = []
    for split, size in (("train", train), ("test", test)):
        rows = []
        for index, present in enumerate(_draw_labels(size, len(names), rng)):
            path = f"jpeg/{split}{index:05d}.jpg"
            (folder / path).write_bytes(_picture(noise, rng) if pictures else b"")
            rows.append(f"{path} {' '.join(map(str, present))}\n")
            if split == "train":
                captions.append(f"{path} a {names[present[0]]} and other things on a street\n")
        (folder / f"{split}.txt").write_text("".join(rows), encoding="utf-8")
    (folder / "captions.txt").write_text("".join(captions), encoding="utf-8")


def _draw_labels(size: int, classes: int, rng: np.random.Generator) -> list[list[int]]:
    """Classes of each image: the c-th with a chance that falls with c, and each at least once."""
    chances = 0.4 / np.arange(1, classes + 1)
    present = rng.random((size, classes)) < chances  # [N, C]
    present[np.arange(max(size, classes)) % size, np.arange(max(size, classes)) % classes] = True
    return [np.flatnonzero(row).tolist() for row in present]


def _picture(noise: np.ndarray, rng: np.random.Generator) -> bytes:
    """A JPEG of soft colours and noise."""
    top, left = rng.integers(0, _HEIGHT), rng.integers(0, _WIDTH)
    soft = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    pixels = np.asarray(soft.resize((_WIDTH, _HEIGHT), Image.BICUBIC), dtype=np.float64)
    pixels = pixels + noise[top : top + _HEIGHT, left : left + _WIDTH]
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
