"""The towers of a CLIP, and the names under which a learner holds what learns in them."""

from __future__ import annotations

from torch import nn

from modeling.tuning.module_tree import ModuleTree

IMAGE, TEXT = "image", "text"
PARTS = {IMAGE: "visual", TEXT: "textual"}  # of a learner, and so in its checkpoints
TOWERS = {
    IMAGE: "the image tower",
    TEXT: "the text tower",
    "both": "both towers",
}


def chosen_towers(name: str) -> tuple[str, ...]:
    """The towers that one of `TOWERS` stands for."""
    return (IMAGE, TEXT) if name == "both" else (name,)


def tower_of(clip_model: nn.Module, name: str) -> nn.Module:
    """One tower of a CLIP, its parts under CLIP's names.

    Args:
        clip_model: a `clip.model.CLIP`, which shares what is returned.
        name: "image" or "text".

    Returns:
        The image tower; or the text tower's blocks, last norm and projection, which `TextEncoder`
        runs. Its embeddings of tokens and positions are left out: no kind of tuning changes them.
    """
    if name == IMAGE:
        return clip_model.visual
    parts = ("transformer", "ln_final", "text_projection")
    return ModuleTree({part: getattr(clip_model, part) for part in parts})


def blocks_of(tower: nn.Module) -> dict[str, nn.Module]:
    """The residual blocks of a tower by their names in it, in the order in which they compute."""
    if hasattr(tower, "attnpool"):
        stages = [f"layer{number}" for number in (1, 2, 3, 4)]
    else:
        stages = ["transformer.resblocks"]
    return {
        f"{stage}.{index}": block
        for stage in stages
        for index, block in enumerate(tower.get_submodule(stage))
    }
