"""Sentences about classes: templates to fill, descriptions to read, one feature for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from common.choices import check_choice
from common.files import read_text
from common.readers.json_files import read_json
from modeling.encoders.text_encoder import TextEncoder

OURS = Path(__file__).resolve().parents[2] / "assets" / "templates.txt"
SLOT = "{}"  # where the class name goes
_MAX_BYTES = 1 << 20  # of a file of templates: room for 10,000
_CHUNK = 256  # texts in a forward pass


def fill(template: str, classname: str) -> str:
    """The template with the class's name, whose underscores become spaces, wherever {} stands."""
    return template.replace(SLOT, classname.replace("_", " "))


def check_template(template: str, source: str) -> None:
    """Raise ValueError, naming the source, unless the template has a place for the class name."""
    if SLOT not in template:
        raise ValueError(
            f"{source} must hold {SLOT} where the class name goes, such as "
            f"'a photo of a {SLOT}.', got {template!r}."
        )


def read_templates(path: str | os.PathLike[str]) -> list[str]:
    """Read templates, one a line; empty lines do not count.

    Args:
        path: a text file, or "ours" for the templates that come with the project.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line without {}, named with its number, no template at all, or not UTF-8.
    """
    path = OURS if path == "ours" else Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"No file of templates at {path.absolute()}. Write one template a line, with {SLOT} "
            "for the class name, or name 'ours'."
        )
    lines = [line.strip() for line in read_text(path, _MAX_BYTES).splitlines()]
    for number, line in enumerate(lines, 1):
        if line:
            check_template(line, f"{path}, line {number}")
    templates = [line for line in lines if line]
    if not templates:
        raise ValueError(f"{path} holds no templates. Write one a line, with {SLOT} in it.")
    return templates


def read_descriptions(path: str | os.PathLike[str], classnames: Sequence[str]) -> list[list[str]]:
    """Read sentences that describe the classes.

    Args:
        path: a JSON file, {class name: [sentence, ...], ...}.
        classnames: C names; here and in the file an underscore is as good as a space.

    Returns:
        The sentences of each class, in the order of `classnames`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not such a JSON file, a class that is unknown (with the nearest known one), a
            class without sentences.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f'No file of descriptions at {path.absolute()}. Write JSON: {{"class name": ["sentence"'
            ', "another sentence"]}'
        )
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} must hold one JSON object of class names, got a {type(content).__name__}."
        )
    wanted = [name.replace("_", " ") for name in classnames]
    found: dict[str, list[str]] = {}
    for name, sentences in content.items():
        check_choice(f"{path}: a class", name.replace("_", " "), wanted)
        if not isinstance(sentences, list) or not all(isinstance(s, str) for s in sentences):
            raise ValueError(f"{path}: class {name!r} must have a list of sentences.")
        found[name.replace("_", " ")] = [s for s in map(str.strip, sentences) if s]
    missing = [name for name in wanted if not found.get(name)]
    if missing:
        raise ValueError(
            f"{path} describes no {', '.join(map(repr, missing))}; each class needs "
            "at least one sentence."
        )
    return [found[name] for name in wanted]


def check_sources(template: str, templates: str, descriptions: str, node: str) -> None:
    """Refuse a template without a place for the name, and two sources of sentences.

    Args:
        template: see `class_sentences`.
        templates: see `class_sentences`.
        descriptions: see `class_sentences`.
        node: of the config, for the message.

    Raises:
        ValueError: as said.
    """
    check_template(template, f"{node}.TEMPLATE")
    if templates and descriptions:
        raise ValueError(
            f"{node} takes TEMPLATES or DESCRIPTIONS, got both: {templates!r} and {descriptions!r}."
        )


def class_sentences(
    classnames: Sequence[str], template: str, templates: str = "", descriptions: str = ""
) -> list[list[str]]:
    """What is said of each of C classes.

    Args:
        classnames: C names.
        template: filled with each name, where nothing else is given.
        templates: "ours" or a file, see `read_templates`; in its place.
        descriptions: a file, see `read_descriptions`; in its place.
    """
    if descriptions:
        return read_descriptions(descriptions, classnames)
    chosen = read_templates(templates) if templates else [template]
    return [[fill(one, name) for one in chosen] for name in classnames]


def concatenate_and_truncate(texts: Sequence[str], characters: int) -> str:
    """One text of many: joined with spaces and cut after so many characters, words or not."""
    return " ".join(texts)[:characters]


@torch.no_grad()
def ensemble_features(texts: Sequence[Sequence[str]], text_encoder: TextEncoder) -> Tensor:
    """One feature for each class: the mean of its texts' unit features, made a unit again.

    Radford et al. (ICML 2021, sec. 3.1.4) average in embedding space. Each text counts alike
    because it is normalised before.

    Args:
        texts: for each of C classes its sentences, at least one.
        text_encoder: CLIP's text tower.

    Returns:
        [C, D], L2-normalised, fp32, on the tower's device.

    Raises:
        ValueError: a text of more tokens than the tower takes; CLIP's 77.
    """
    flat = [text for own in texts for text in own]
    device = text_encoder.text_projection.device
    tokens = text_encoder.kind.tokenizer.rows(flat).to(device)  # [T, 77]
    features = torch.cat([text_encoder.encode_tokens(part) for part in tokens.split(_CHUNK)])
    means = [own.mean(dim=0) for own in features.split([len(own) for own in texts])]
    return F.normalize(torch.stack(means), dim=-1)
