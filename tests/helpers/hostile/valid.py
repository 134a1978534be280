"""Honest files of every kind, to be damaged."""

from __future__ import annotations

import functools
import io
import json
import pickle
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from tests.helpers.hostile.readers import CLASSES, PATHS, READERS, cache_in, make

_WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(2, dtype=torch.float16)}
_RESULT = dict.fromkeys(
    ("trainer", "dataset", "backbone", "split", "score", "epoch", "selection", "metrics"), "x"
)
_ORIGIN = dict.fromkeys(("trainer", "weights", "score", "split", "source", "date"), "x")
_TEXTS = {
    "yaml": "# a comment\nOPTIM:\n  LR: 1e-3\n  NAMES: [a, 'b']\nTEST: {SCORE: logit}\n",
    "override": "OPTIM.LR\n0.1\nINPUT.SIZE\n(224, 224)\nTRAINER.LMPT.N_CTX\n4",
    "list": "a.jpg 0 2\nmy photo.png 1\nb/c.jpeg\n",
    "labels": "cat 0\ndog 1\ntraffic light 2\n",
    "captions": "a.jpg a cat\nmy photo.png two dogs\n",
    "synonyms": "cat: kitten, tabby\ndog: puppy\n-: hot dog\n",
    "class split": "# mine\ncat seen\ntraffic light unseen\n",
    "concept": "1\n0\n",
    "instances": json.dumps(
        {
            "categories": [{"id": 1, "name": "cat"}],
            "images": [{"id": 1, "file_name": "a.jpg"}],
            "annotations": [{"image_id": 1, "category_id": 1}],
        }
    ),
    "templates": "a photo of a {}.\nthe {}\n",
    "pointer": "model.pth.tar-3\n",
    "annotation": "<annotation><object><name>cat</name><part/></object></annotation>",
    "owner": '{"pid": 1, "host": "a", "since": "now", "command": "train"}',
    "captions json": json.dumps(
        {
            "images": [{"id": 1, "file_name": "a.jpg"}],
            "annotations": [{"image_id": 1, "caption": "a cat"}],
        }
    ),
    "descriptions": json.dumps({name: ["has ears", "is small"] for name in CLASSES}),
    "thresholds": json.dumps(
        {
            "origin": {**_ORIGIN, "epoch": 1, "images": 9},
            "rule": {"criterion": "f1", "per_class": True},
            "classes": [{"name": name, "log_odds": 1.5} for name in CLASSES],
        }
    ),
    "hugging face": json.dumps({"vision_config": {"num_hidden_layers": 24}, "text_config": {}}),
    "open_clip": json.dumps({"model_cfg": {"vision_cfg": {"head_width": 80}, "text_cfg": {}}}),
    "colours": json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}),
    "result": json.dumps({**_RESULT, "seed": 1, "per_class": []}),
}


def in_zip(records: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return file.getvalue()


def header_and(header: bytes, content: bytes) -> bytes:
    """A safetensors file."""
    return len(header).to_bytes(8, "little") + header + content


def _numpy(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _torchs(value: object, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def _picture(kind: str) -> bytes:
    file = io.BytesIO()
    levels = np.random.default_rng(0).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(levels).save(file, kind)
    return file.getvalue()


def _cache() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = cache_in(Path(folder))
        make(file)
        return file.path.read_bytes()


@functools.cache
def all_valid() -> dict[str, list[bytes]]:
    """Kind of file to honest contents."""
    from tests.helpers.sets.small_archives import tar, zipped

    checkpoint = {"state_dict": _WEIGHTS, "epoch": 3, "optimizer": {"lr": [0.1]}, "n": np.arange(3)}
    members = {"a/b.txt": b"text" * 50, "c.txt": b""}
    known = np.ones((len(PATHS), len(CLASSES)), bool)
    scores = np.zeros((2, 3), np.float32)
    return {
        **{kind: [text.encode()] for kind, text in _TEXTS.items() if kind in READERS},
        "counts": [pickle.dumps({"class_freq": np.arange(4)}, n) for n in range(5)],
        "checkpoint": [_torchs(checkpoint), _torchs(checkpoint, False)],
        "weights": [_torchs(_WEIGHTS), _torchs({"state_dict": _WEIGHTS}, False)],
        "safetensors": [save(_WEIGHTS)],
        "mask": [_numpy(paths=np.array(PATHS), known=known, proportion=0.5)],
        "scores": [_numpy(paths=np.array(["a", "b"]), scores=scores, targets=scores > 0)],
        "picture": [
            _picture(kind) for kind in ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
        ],
        "archive": [tar(members), zipped(members)],
        "cache": [_cache()],
    }


def valid(kind: str) -> bytes:
    """The first honest content of a kind."""
    return all_valid()[kind][0]
