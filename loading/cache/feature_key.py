"""Cache key: everything a feature depends on."""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import torchvision
from torch import nn

from modeling.clip.architecture import activation_of

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def encoder_key(encoder: nn.Module, precision: str, device: torch.device) -> dict[str, str]:
    """Cache key of an encoder: its code, weights, options and precision.

    Its weights themselves count, not the file they came from; so do its options (the attributes
    of its modules) and the source files of its classes. Other versions of torch and other kinds of
    device round differently.

    Args:
        encoder: the frozen image encoder, weights loaded.
        precision: one of `modeling.clip.precision.PRECISIONS`.
        device: where it runs.
    """
    classes = {type(module) for module in encoder.modules()}
    return {
        "encoder": type(encoder).__name__,
        "options": _digest(_options(encoder)),
        "weights": weights_digest(encoder),
        "code": source_digest(classes),
        "precision": f"{precision}, matmul {torch.get_float32_matmul_precision()}",
        "device": device.type,
        "torch": torch.__version__,
    }


def picture_digests(paths: Iterable[str], by_place: bool = False) -> np.ndarray:
    """Digests of picture files, of 16 bytes each: uint8 [N, 16].

    Args:
        paths: the N files. Path, size and time of change stand for a file's content.
        by_place: whether a picture's features depend on its place among them, too.
    """
    stamps = (
        f"{_stamp(path)} {place}" if by_place else _stamp(path) for place, path in enumerate(paths)
    )
    digests = (
        hashlib.blake2b(stamp.encode("utf-8", "surrogateescape"), digest_size=16).digest()
        for stamp in stamps
    )
    return np.frombuffer(bytearray().join(digests), dtype=np.uint8).reshape(-1, 16)


def preprocessing_key(read: Callable[..., Any], transform: Callable[..., Any]) -> dict[str, str]:
    """Cache key of what is done to pictures before they are encoded.

    Args:
        read: path to PIL image.
        transform: PIL image to tensor.
    """
    steps = getattr(transform, "transforms", [transform])
    return {
        "transform": " ".join(repr(transform).split()),
        "transform options": _digest(_options(transform)),
        "decoding": source_digest([read, *map(type, steps)]),
        "pillow": PIL.__version__,
        "torchvision": torchvision.__version__,
    }


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of a module's parameters and buffers: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        flat = value.detach().reshape(-1).contiguous().cpu()
        digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()


def clip_digest(clip_model: nn.Module) -> str:
    """Digest of a CLIP's weights, followed by what they do not tell, where it is not OpenAI's."""
    digest = weights_digest(clip_model)
    if variant := getattr(clip_model, "variant", ""):  # of a `DualTower`
        return f"{digest} {variant}"
    activation = activation_of(clip_model)
    return digest if activation == "quickgelu" else f"{digest} {activation}"


def source_digest(things: Iterable[Any]) -> str:
    """SHA-256 of the source files of functions, classes and objects, libraries' left out."""
    modules = {getattr(thing, "__module__", None) or type(thing).__module__ for thing in things}
    files = []
    for name in sorted(modules):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and name.partition(".")[0] not in ("torch", "torchvision", "PIL"):
            files.append(Path(file).read_text(encoding="utf-8"))
    return _digest(files)


def _options(thing: object, name: str = "") -> Iterator[str]:
    """Everything that is set about a module or transform but its weights, in words.

    What has no words of its own is written with its address: such a key never comes again, which
    costs an encoding and serves nothing stale.
    """
    yield f"{name} is a {type(thing).__qualname__}"
    module = isinstance(thing, nn.Module)
    for option, value in sorted(getattr(thing, "__dict__", {}).items()):
        if not (module and option in _OF_EVERY_MODULE):
            yield from _worded(value, f"{name}.{option}")
    for child, part in thing.named_children() if module else ():
        yield from _options(part, f"{name}.{child}")


def _worded(value: object, name: str) -> Iterator[str]:
    if isinstance(value, (list, tuple)):
        yield f"{name} has {len(value)}"
        for i, part in enumerate(value):
            yield from _worded(part, f"{name}.{i}")
    elif isinstance(value, nn.Module):
        yield from _options(value, name)
    elif isinstance(value, (set, frozenset)):  # whose order is another one in each process
        yield from _worded(sorted(map(repr, value)), name)
    elif inspect.isroutine(value) or inspect.isclass(value):
        yield f"{name} = {value.__module__}.{value.__qualname__}"
    else:
        yield f"{name} = {value!r}"


def _stamp(path: str) -> str:
    absolute = os.path.abspath(path)
    try:
        status = os.stat(absolute)
    except OSError:  # reading it will say what is wrong
        return f"{absolute} cannot be read"
    return f"{absolute} {status.st_size} {status.st_mtime_ns}"


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()
