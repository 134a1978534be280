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
from modeling.clip.precision import Precision
from modeling.clip.uninitialised import Uninitialised
from modeling.clip.weight_files import StateDict, check_numbers, read_state_dict

TINY = Path(__file__).resolve().parents[2] / "assets" / "tiny_clip.safetensors"
_VOCABULARY = 49408  # tokens of CLIP's byte-pair encoding
_MAX_WIDTH = 2048  # of a token's embedding; CLIP's widest has 1280
_MAX_CONTEXT = 4096  # positions of texts, 77 in CLIP: their attention mask is this squared
_ARCHIVE_EXTRAS = ("input_resolution", "context_length", "vocab_size")  # attributes, not weights


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
    """Names that `load_clip` knows, each with one line about it."""
    urls = _published()
    known = {name: f"OpenAI's {name}, downloaded once to {_cache_folder()}" for name in urls}
    return {"tiny": "our small CLIP of the embedded default, drawn shapes only", **known}


def _published() -> dict[str, str]:
    """OpenAI's model names and addresses, from the package itself."""
    import_clip()
    return importlib.import_module("clip.clip")._MODELS


def _cache_folder() -> str:
    return os.path.join("~", ".cache", "clip")


def load_clip(name: str, precision: str = "fp32", device: str | torch.device = "cpu") -> nn.Module:
    """Load a frozen CLIP in eval mode.

    Args:
        name: a name of `available_backbones()`, or the path of a weight file in OpenAI's parameter
            names (TorchScript archive, state dict, `{"state_dict": ...}`, safetensors).
        precision: one of `modeling.clip.precision.PRECISIONS`. Layers that `clip` keeps in fp32
            (normalisations, embeddings) stay in fp32.
        device: where to put it.

    Returns:
        A `clip.model.CLIP` whose parameters take no gradient.

    Raises:
        ValueError: an unknown name, or a file that does not hold a CLIP.
        ConnectionError: a published file that cannot be downloaded.
    """
    path = weight_path(name)
    model = build_clip(
        _load_tensors(path), Precision(precision, torch.device(device)).weights, path
    )
    return model.to(device)


def weight_path(name: str) -> Path:
    """The weight file of a backbone; downloads a published one on first use."""
    if name == "tiny":
        return TINY
    urls = _published()
    if name in urls:
        return _fetch(urls[name])
    path = Path(name).expanduser()
    if path.is_file():
        return path
    raise ValueError(
        f"MODEL.BACKBONE.NAME is {name!r}, which is neither a file nor one of tiny, "
        f"{', '.join(urls)}.{hint(name, ['tiny', *urls])}"
    )


def _fetch(address: str, folder: str | None = None) -> Path:
    """A published weight file, whose address holds its checksum."""
    target = Path(folder or _cache_folder()).expanduser() / address.rsplit("/", 1)[1]
    return download(address, target, checksum=address.split("/")[-2])


def _load_tensors(path: Path) -> StateDict:
    state_dict = read_state_dict(path)
    if "token_embedding.rows" in state_dict:
        check_numbers({"token_embedding.rows": state_dict["token_embedding.rows"]}, path)
        state_dict = _expand_token_embedding(state_dict, path)
    weights = {
        name: value
        for name, value in state_dict.items()
        if name not in _ARCHIVE_EXTRAS and not name.endswith("attn_mask")
    }
    check_numbers({name: value for name, value in weights.items() if not _counts(name)}, path)
    return weights


def _counts(name: str) -> bool:
    """Whether it is a counter of a batch normalisation, an integer that no output depends on."""
    return name.endswith("num_batches_tracked")


def _expand_token_embedding(state_dict: StateDict, path: Path) -> StateDict:
    """Rebuild the full token embedding from the rows that our small file keeps.

    Tokens that the small model never saw get the mean row, the least surprising of all vectors.
    """
    state_dict = dict(state_dict)
    rows = state_dict.pop("token_embedding.rows").float()  # [K, E]
    ids = state_dict.pop("token_embedding.ids", torch.empty(0)).long()  # [K]
    known = ids.dim() == 1 and bool(((0 <= ids) & (ids < _VOCABULARY)).all())
    if not known or rows.dim() != 2 or len(rows) != len(ids) or rows.shape[1] > _MAX_WIDTH:
        raise ValueError(
            f"{path} holds token_embedding.rows {tuple(rows.shape)} and ids {tuple(ids.shape)}, "
            f"expected [K, up to {_MAX_WIDTH}] and [K] ids below {_VOCABULARY}."
        )
    weight = rows.mean(dim=0).repeat(_VOCABULARY, 1)  # [49408, E]
    weight[ids] = rows
    return {**state_dict, "token_embedding.weight": weight}


def build_clip(state_dict: StateDict, dtype: torch.dtype, source: str | Path) -> nn.Module:
    """Build CLIP from its tensors with the `clip` package's own `build_model`.

    Args:
        state_dict: OpenAI's parameter names to tensors.
        dtype: precision of the matrices and convolutions.
        source: where the tensors came from, for messages.

    Returns:
        The model on the CPU, frozen, in eval mode.

    Raises:
        ValueError: the tensors are not those of a CLIP.
    """
    import_clip()
    build_model = importlib.import_module("clip.model").build_model
    rng = torch.get_rng_state()  # its random initialisation must not move anybody's seed
    try:
        if len(state_dict["positional_embedding"]) > _MAX_CONTEXT:
            raise ValueError(f"its texts have more than {_MAX_CONTEXT} positions")
        with torch.device("meta"):  # without memory: a small file may ask for a giant model
            build_model({name: value.to("meta") for name, value in state_dict.items()})
        with Uninitialised():
            model = build_model(dict(state_dict))
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as e:
        reason = " ".join(str(e).split())[:300]
        raise ValueError(
            f"{source} does not hold a CLIP in OpenAI's parameter names: {reason}. "
            f"It has {len(state_dict)} tensors, such as {', '.join(list(state_dict)[:3])}."
        ) from e
    finally:
        torch.set_rng_state(rng)
    # build_model rounds through fp16, which loses nothing of OpenAI's own files but something of
    # others: put the tensors in once more, in the precision that was asked for.
    for parameter in model.parameters():
        if parameter.dtype is torch.float16:
            parameter.data = parameter.data.to(dtype)
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
    return [decoder[token] for token in range(_VOCABULARY)]
