"""CLIP, through the `clip` package: names, files, precisions.

Nothing else in the project imports `clip`. The package is never forked and its own `clip.load`
is not used: that one executes TorchScript archives and cannot read safetensors.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path

import torch
from torch import Tensor, nn

from common.choices import hint
from common.download import download
from modeling.clip.architecture import VOCABULARY, Architecture, assemble
from modeling.clip.clip_file import AUTO, no_clip, read_clip, weights_in
from modeling.clip.precision import Precision
from modeling.clip.weight_files import StateDict

TINY = Path(__file__).resolve().parents[2] / "assets" / "tiny_clip.safetensors"


def import_clip() -> types.ModuleType:
    """Import the `clip` package.

    Its PyPI builds want `pkg_resources.packaging`, which setuptools 70 and 82 onwards lack; a
    stand-in serves for the duration of the import.

    Returns:
        The module.

    Raises:
        ImportError: the package is missing, or it is PyPI's clipboard manager of the same name.
    """
    if "clip" not in sys.modules and not _has_pkg_resources_packaging():
        import packaging
        import packaging.version

        stub = types.ModuleType("pkg_resources")
        stub.packaging = packaging
        genuine = sys.modules.get("pkg_resources")
        sys.modules["pkg_resources"] = stub
        try:
            clip = _import()
        finally:
            del sys.modules["pkg_resources"]
            if genuine is not None:
                sys.modules["pkg_resources"] = genuine
    else:
        clip = _import()
    if not hasattr(clip, "tokenize"):
        raise ImportError(
            f"The `clip` at {clip.__file__} is not OpenAI's CLIP (PyPI's `clip` is a clipboard "
            "manager). Run: pip uninstall clip && pip install clip-anytorch"
        )
    _serve_coops_loading(importlib.import_module("clip.clip"))
    return clip


def clip_modules() -> types.ModuleType:
    """The modules that CLIP is built of: the package's `clip.model`.

    Raises:
        ImportError: the package is missing.
    """
    import_clip()
    return importlib.import_module("clip.model")


def _serve_coops_loading(module: types.ModuleType) -> None:
    """Let `module._download(module._MODELS[name])`, as trainer files of CoOp's kind say, work.

    The PyPI builds want a folder as a second argument. Beside names, paths are understood, so that
    MODEL.BACKBONE.NAME means the same to such files as to ours.
    """
    if not isinstance(module._MODELS, _Addresses):
        module._MODELS = _Addresses(module._MODELS)
        module._download = lambda address, root=None: (
            str(_fetch(address, root)) if "://" in address else address
        )


class _Addresses(dict):
    """Model names to addresses; what is no name is the path of a file, which stands for itself."""

    def __missing__(self, name: str) -> str:
        return str(weight_path(name))


def _has_pkg_resources_packaging() -> bool:
    try:
        from pkg_resources import packaging  # noqa: F401
    except ImportError:
        return False
    return True


def _import() -> types.ModuleType:
    try:
        return importlib.import_module("clip")
    except ModuleNotFoundError as error:
        if error.name != "clip":
            raise
        raise ImportError("OpenAI's CLIP is missing. Run: pip install clip-anytorch") from error


def available_backbones() -> dict[str, str]:
    """Names of backbones, each with one line about it."""
    urls = _published()
    known = {name: f"OpenAI's {name}, downloaded once to {_cache_folder()}" for name in urls}
    ours = {"tiny": "our small CLIP of the embedded default, drawn shapes only"}
    others = {
        "open_clip:ARCH": "open_clip's SigLIP, EVA-02, MobileCLIP and others (docs/backbones.md)"
    }
    return {**ours, **known, **others}


def _published() -> dict[str, str]:
    """OpenAI's model names and addresses, from the package itself."""
    import_clip()
    return importlib.import_module("clip.clip")._MODELS


def _cache_folder() -> str:
    return os.path.join("~", ".cache", "clip")


def load_clip(
    name: str,
    precision: str = "fp32",
    device: str | torch.device = "cpu",
    activation: str = AUTO,
) -> nn.Module:
    """Load a frozen CLIP in eval mode.

    Args:
        name: a name of `available_backbones()`, or the path of a weight file or of its folder, in
            the names of OpenAI, Hugging Face or open_clip (docs/backbones.md).
        precision: one of `modeling.clip.precision.PRECISIONS`. Layers that `clip` keeps in fp32
            (normalisations, embeddings) stay in fp32.
        device: where to put it.
        activation: MODEL.BACKBONE.ACTIVATION; "auto" where the file or its config tells.

    Returns:
        A `clip.model.CLIP` whose parameters take no gradient.

    Raises:
        ValueError: an unknown name, a file that does not hold a CLIP, or one that does not tell
            its activation.
        ConnectionError: a published file that cannot be downloaded.
    """
    path = weight_path(name)
    read = read_clip(path, activation)
    if read.note:
        print(read.note)
    weights = Precision(precision, torch.device(device)).weights
    return build_clip(read.state_dict, weights, path, read.architecture).to(device)


def weight_path(name: str) -> Path:
    """The weight file of a backbone; downloads a published one on first use.

    Args:
        name: a name of `available_backbones()`, a weight file, or a folder that holds one under the
            name that Hugging Face or open_clip gives it.

    Raises:
        ValueError: it is none of these.
        ConnectionError: a published file that cannot be downloaded.
    """
    if name == "tiny":
        return TINY
    urls = _published()
    if name in urls:
        return _fetch(urls[name])
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        return weights_in(path)
    raise ValueError(
        f"MODEL.BACKBONE.NAME is {name!r}, which is neither a file nor one of tiny, "
        f"{', '.join(urls)}.{hint(name, ['tiny', *urls])} Other architectures go by "
        "open_clip:ARCHITECTURE/FILE (docs/backbones.md)."
    )


def published_weights(name: str) -> tuple[str, Path] | None:
    """The address of a published weight file, and where it lies once it is fetched.

    Args:
        name: MODEL.BACKBONE.NAME.

    Returns:
        None for the tiny CLIP and for files of the user's own.
    """
    address = _published().get(name)
    return (address, _target(address)) if address else None


def _fetch(address: str, folder: str | None = None) -> Path:
    """A published weight file, whose address holds its checksum."""
    return download(address, _target(address, folder), checksum=address.split("/")[-2])


def _target(address: str, folder: str | None = None) -> Path:
    return Path(folder or _cache_folder()).expanduser() / address.rsplit("/", 1)[1]


def build_clip(
    state_dict: StateDict,
    dtype: torch.dtype,
    source: str | Path,
    architecture: Architecture | None = None,
) -> nn.Module:
    """Build CLIP from its tensors, of the `clip` package's modules.

    Args:
        state_dict: OpenAI's parameter names to tensors.
        dtype: precision of the matrices and convolutions.
        source: where the tensors came from, for messages.
        architecture: what the tensors do not tell; OpenAI's if None.

    Returns:
        The model on the CPU, frozen, in eval mode.

    Raises:
        ValueError: the tensors are not those of a CLIP.
    """
    try:
        model = assemble(clip_modules(), state_dict, architecture or Architecture())
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as e:
        raise no_clip(source, state_dict, e) from e
    for parameter in model.parameters():
        if parameter.dtype is torch.float16:
            parameter.data = parameter.data.to(dtype)
    model = model.to_empty(device="cpu")  # a small file may have asked for a giant model until here
    model.load_state_dict(state_dict)
    return model.requires_grad_(False).eval()


def input_resolution(clip_model: nn.Module) -> int:
    """Side of the square images that the image tower takes, in pixels."""
    return clip_model.visual.input_resolution


def tokenize(texts: list[str]) -> Tensor:
    """CLIP's tokens of texts that fit.

    Args:
        texts: N strings.

    Returns:
        Token ids [N, 77], int64, zero-padded.

    Raises:
        RuntimeError: a text needs more than 77 tokens.
    """
    return import_clip().tokenize(texts).long()


def encode_words(text: str) -> list[int]:
    """Byte-pair ids of a text, without start and end tokens."""
    import_clip()
    return importlib.import_module("clip.clip")._tokenizer.encode(text)


def vocabulary() -> list[str]:
    """The text of every token of CLIP's byte-pair encoding, in the order of the embedding's rows.

    A token that ends a word ends in "</w>", as the encoding writes it.
    """
    import_clip()
    decoder = importlib.import_module("clip.clip")._tokenizer.decoder
    return [decoder[token] for token in range(VOCABULARY)]
