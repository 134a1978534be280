"""Names of open_clip's models: an architecture, and the weights that it is to have."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.choices import hint
from modeling.clip.clip_file import weights_in
from modeling.towers.extras import import_extra

PREFIX = "open_clip:"


@dataclass(frozen=True)
class OpenClipModel:
    """A model of open_clip's and where its weights are.

    Attributes:
        name: as the user wrote it.
        config: the library's model config.
        weights: the weight file.
        preprocessing: what the library says of images: mean, std, interpolation, resize_mode.
    """

    name: str
    config: dict[str, Any]
    weights: Path
    preprocessing: dict[str, Any] = field(default_factory=dict)


def resolve(name: str) -> OpenClipModel:
    """Find what `open_clip:ARCHITECTURE`, `.../TAG` or `.../FILE` means.

    Args:
        name: TAG is one of the library's names of weights, which are downloaded once; FILE is a
            weight file, or a folder with one. Without either the architecture's only tag is meant.

    Raises:
        ImportError: open_clip is missing.
        ValueError: an unknown architecture or tag, or several tags to choose from.
        ConnectionError: weights that cannot be downloaded; with where to put them.
    """
    library = import_extra("open_clip", name)
    architecture, _, weights = name.removeprefix(PREFIX).partition("/")
    config = library.get_model_config(architecture) if ":" not in architecture else None
    if config is None:
        known = library.list_models()
        raise ValueError(
            f"MODEL.BACKBONE.NAME {name}: open_clip {library.__version__} has no architecture "
            f"{architecture!r}.{hint(architecture, known)} Its names: "
            "python -c 'import open_clip; print(open_clip.list_models())'"
        )
    path = Path(weights).expanduser()
    if weights and path.exists():
        return OpenClipModel(name, config, weights_in(path) if path.is_dir() else path)
    tags = library.list_pretrained_tags_by_model(architecture)
    if not weights and len(tags) == 1:
        weights = tags[0]
    if weights not in tags:
        what = f"{weights!r} is neither a file nor a tag" if weights else "no weights are named"
        raise ValueError(
            f"MODEL.BACKBONE.NAME {name}: {what}. Take a weight file, "
            f"{PREFIX}{architecture}/FILE, or one of the tags: {', '.join(tags) or 'none'}."
            f"{hint(weights, tags)}"
        )
    published = library.get_pretrained_cfg(architecture, weights)
    if published.get("quick_gelu") is not None:
        config["quick_gelu"] = bool(published["quick_gelu"])
    return OpenClipModel(name, config, _downloaded(library, architecture, published), published)


def _downloaded(library: Any, architecture: str, published: dict[str, Any]) -> Path:  # noqa: ANN401
    """The weight file of a tag, from the library's cache or downloaded to it.

    Raises:
        ConnectionError: it is not there and cannot be downloaded.
    """
    try:
        return Path(library.download_pretrained(published))
    except Exception as error:  # whatever the hub's client, or urllib, raises
        repository, url = published.get("hf_hub", "").strip("/"), published.get("url", "")
        what = f"hf download {repository} --local-dir FOLDER" if repository else f"download {url}"
        where = "FOLDER" if repository else "FILE"
        raise ConnectionError(
            f"The weights of {PREFIX}{architecture} are not here and cannot be downloaded. Where "
            f"there is a network: {what}. Copy it here and take {PREFIX}{architecture}/{where} "
            "(docs/backbones.md)."
        ) from error


def published_tokenizer(repository: str, file: str) -> Path | None:
    """A tokenizer file of Hugging Face's hub, from the cache or downloaded; None if it cannot be.

    Args:
        repository: the model's name on the hub.
        file: name of the file.
    """
    hub = import_extra("huggingface_hub", "A tokenizer of the hub")
    try:
        return Path(hub.hf_hub_download(repository, file))
    except Exception:  # noqa: BLE001 - no network, no such file, no such name: all mean the same
        return None
