"""Names of CLIP's parameters in files of other libraries, and OpenAI's names for them.

A format is recognised by names that it alone has. Its table turns the beginnings and the middles of
names into OpenAI's; what then remains to be done is the same for all formats: queries, keys and
values become one matrix, and projections kept as linear layers are transposed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from common.readers.pickles.vocabulary import printable

StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class Format:
    """How a library names the parameters of a CLIP.

    Attributes:
        name: for the log and for messages.
        mark: beginnings of names, one of which every file of this format has.
        config: the file in which the library says what the tensors do not.
        beginnings: of names, to OpenAI's; the first that fits counts.
        middles: parts of names, to OpenAI's.
    """

    name: str
    mark: tuple[str, ...]
    config: str
    beginnings: Mapping[str, str] = field(default_factory=dict)
    middles: Mapping[str, str] = field(default_factory=dict)


HUGGING_FACE = Format(
    name="Hugging Face CLIPModel",
    mark=("vision_model.", "text_model."),
    config="config.json",
    beginnings={
        "text_model.embeddings.token_embedding.": "token_embedding.",
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
        "text_model.encoder.layers.": "transformer.resblocks.",
        "text_model.final_layer_norm.": "ln_final.",
        "vision_model.embeddings.class_embedding": "visual.class_embedding",
        "vision_model.embeddings.patch_embedding.": "visual.conv1.",
        "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
        "vision_model.pre_layrnorm.": "visual.ln_pre.",  # the library's spelling
        "vision_model.encoder.layers.": "visual.transformer.resblocks.",
        "vision_model.post_layernorm.": "visual.ln_post.",
        "visual_projection.": "visual.proj.",
    },
    middles={
        ".self_attn.": ".attn.",
        ".layer_norm1.": ".ln_1.",
        ".layer_norm2.": ".ln_2.",
        ".mlp.fc1.": ".mlp.c_fc.",
        ".mlp.fc2.": ".mlp.c_proj.",
    },
)
CUSTOM_TEXT = Format(
    name="open_clip CustomTextCLIP",
    mark=("text.",),
    config="open_clip_config.json",
    beginnings={"text.": ""},
)
NATIVE = Format(
    name="OpenAI or open_clip",
    mark=("visual.", "transformer.", "token_embedding.", "text_projection"),
    config="open_clip_config.json",
)
FORMATS = (HUGGING_FACE, CUSTOM_TEXT, NATIVE)

_WRAPPERS = ("module.", "_orig_mod.")  # of DistributedDataParallel and of torch.compile
_IGNORED = re.compile(
    r"input_resolution|context_length|vocab_size"  # attributes in OpenAI's archives
    r"|(.*\.)?(attn_mask|position_ids)"  # follow from the number of positions
)
_OTHER_MODELS = {
    r"visual\.trunk\.": "its image tower is one of timm's",
    r"text\.transformer\.(embeddings|encoder)\.": "its text tower is a language model",
    r"vision_model\.head\.": "its image tower pools by attention, as SigLIP's does",
    r"text_decoder\.": "it has a text decoder, as CoCa has",
}
_PART = re.compile(r"(.*resblocks\.\d+\.attn\.)([qkv])_proj\.(weight|bias)")


def is_openais_archive(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether tensors were taken from one of OpenAI's archives, which keep sizes among them."""
    return "input_resolution" in state_dict


def recognise(state_dict: Mapping[str, Tensor]) -> Format:
    """The format whose names a file has.

    Args:
        state_dict: names as in the file, without wrappers.

    Raises:
        ValueError: it is none of `FORMATS`, or a model that is known to be no CLIP of OpenAI's
            geometry.
    """
    for pattern, reason in _OTHER_MODELS.items():
        if any(re.match(pattern, name) for name in state_dict):
            bias = ", and it has a logit_bias, as SigLIP has" if "logit_bias" in state_dict else ""
            raise ValueError(
                f"{reason}{bias}. Name its architecture, open_clip:ARCHITECTURE/FILE, or put its "
                "config beside it (docs/backbones.md)"
            )
    for known in FORMATS:
        if any(name.startswith(known.mark) for name in state_dict):
            return known
    names = ", ".join(known.name for known in FORMATS)
    raise ValueError(f"its names are those of none of {names}")


def unwrapped(state_dict: Mapping[str, Tensor]) -> StateDict:
    """Names without the prefixes that wrappers of modules leave."""
    found = {}
    for name, value in state_dict.items():
        while name.startswith(_WRAPPERS):
            name = name.partition(".")[2]
        found[name] = value
    return found


def openai_names(state_dict: Mapping[str, Tensor], source: Format) -> StateDict:
    """Convert the tensors of a file into those of a `clip.model.CLIP`.

    Args:
        state_dict: names as in the file, without wrappers.
        source: its format.

    Returns:
        OpenAI's names to tensors. Names that the table does not know stay as they are.

    Raises:
        ValueError: two tensors get the same name, or queries, keys and values do not fit together.
    """
    found: StateDict = {}
    for name, value in state_dict.items():
        new = _renamed(name, source)
        if _IGNORED.fullmatch(new):
            continue
        if new in found:
            raise ValueError(f"it holds {printable(new)} twice, under two names")
        found[new] = value
    found = _with_joined_attention(found)
    for linear in ("text_projection", "visual.proj"):
        if f"{linear}.weight" in found:
            found[linear] = found.pop(f"{linear}.weight").t().contiguous()
    for name, shape in {"logit_scale": (), "visual.class_embedding": (-1,)}.items():
        if name in found and (shape or found[name].numel() == 1):
            found[name] = found[name].reshape(shape)
    return found


def _renamed(name: str, source: Format) -> str:
    for old, new in source.beginnings.items():
        if name.startswith(old):
            name = new + name.removeprefix(old)
            break
    for old, new in source.middles.items():
        name = name.replace(old, new)
    return name


def _with_joined_attention(state_dict: StateDict) -> StateDict:
    """Put the queries', keys' and values' layers of each block on top of one another."""
    found: StateDict = {}
    parts: dict[str, StateDict] = {}
    for name, value in state_dict.items():
        if match := _PART.fullmatch(name):
            parts.setdefault(f"{match[1]}in_proj_{match[3]}", {})[match[2]] = value
        else:
            found[name] = value
    for name, own in parts.items():
        if len({(own[part].shape, own[part].dtype) if part in own else part for part in "qkv"}) > 1:
            raise ValueError(f"queries, keys and values do not fit together in {printable(name)}")
        found[name] = torch.cat([own[part] for part in "qkv"])
    return found
