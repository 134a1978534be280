"""The yaml files that a run takes unless it names others: its backbone's and a recipe."""

from __future__ import annotations

from pathlib import Path

from common.config.config_values import flatten
from common.readers.yaml_files import ENDINGS, read_with_bases

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
BACKBONE = "MODEL.BACKBONE.NAME"


def backbone_file(name: str) -> Path | None:
    """The yaml file of a backbone.

    Args:
        name: of a file of configs/backbones (`vit_b16`), of the CLIP that one is for (`ViT-B/16`),
            in upper or lower case, or the path of such a yaml file.

    Returns:
        The file; None if there is none, as for a weight file.
    """
    if name.lower().endswith(ENDINGS):
        return Path(name)
    for path in sorted((CONFIGS / "backbones").glob("*.yaml")):
        if name.lower() in (path.stem.lower(), value_in(path, BACKBONE).lower()):
            return path
    return None


def backbone_name(path: Path) -> str:
    """What a backbone's yaml file calls it.

    Raises:
        ValueError: the file does not say.
    """
    name = value_in(path, BACKBONE)
    if not name:
        raise ValueError(f"{path} is no file for a backbone: it does not set {BACKBONE}.")
    return name


def recipe_file(trainer: str, backbone: Path | None) -> Path | None:
    """A method's own recipe for a backbone, or else its recommended one; None if it has none.

    Args:
        trainer: as registered, which is the folder's name in configs/trainers.
        backbone: see `backbone_file`.
    """
    names = [backbone.stem] if backbone else []
    for name in (*names, "recommended"):
        path = CONFIGS / "trainers" / trainer / f"{name}.yaml"
        if trainer and path.exists():
            return path
    return None


def check_config_file(path: Path) -> None:
    """Refuse a config file that does not exist.

    Raises:
        FileNotFoundError: with the flags instead, if its name (`vit_b16_paper`) is that of a
            backbone and a recipe.
    """
    if path.exists():
        return
    advice = ""
    for backbone in sorted(file.stem for file in (CONFIGS / "backbones").glob("*.yaml")):
        recipe = path.with_stem(path.stem.removeprefix(backbone).lstrip("_"))
        if path.stem == backbone:
            advice = f" Instead of it: --backbone {backbone}, which takes the method's recipe."
        elif path.stem.startswith(backbone) and recipe.exists():
            advice = f" Instead of it: --backbone {backbone} --config-file {recipe}"
    raise FileNotFoundError(f"No config file {path}.{advice}")


def value_in(path: Path, key: str) -> str:
    """What a yaml file, with those that it builds on, sets a key to; empty if it does not."""
    found = ""
    for _, mapping in read_with_bases(path):
        found = dict(flatten(mapping)).get(key, found)
    return str(found)
