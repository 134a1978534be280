"""The tokenizer of a text tower that is not trained on CLIP's tokens: a tokenizer.json."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.files import read_text
from common.readers.json_files import read_json
from modeling.clip.tokenizer import Tokenizer
from modeling.towers.extras import import_extra

TOKENIZER = "tokenizer.json"
_CONFIG = "tokenizer_config.json"
_MAX_BYTES = 64 << 20  # Gemma's, of SigLIP 2, has 34 MB
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
CLEANINGS: dict[str, Callable[[str], str]] = {
    "whitespace": lambda text: " ".join(text.split()),
    "lower": lambda text: " ".join(text.lower().split()),
    # As SigLIP was trained: https://arxiv.org/abs/2303.15343 and its big_vision code.
    "canonicalize": lambda text: " ".join(text.lower().translate(_NO_PUNCTUATION).split()),
}


def read_tokenizer(
    path: Path, cleaning: str, context_length: int, tokens: int, name: str
) -> Tokenizer:
    """Read a tokenizer.json, which is data of the library `tokenizers`.

    Args:
        path: the file; a tokenizer_config.json beside it names the padding.
        cleaning: one of `CLEANINGS`, done before.
        context_length: L, positions of the text tower.
        tokens: rows of the tower's embedding.
        name: whose it is, for messages.

    Raises:
        ImportError: the library is missing.
        ValueError: it cannot be read, has no end token, or more tokens than the tower.
        OSError: there is no such file.
    """
    library = import_extra("tokenizers", name)
    text = read_text(path, _MAX_BYTES)
    try:
        found = library.Tokenizer.from_str(text)
    except Exception as error:  # the library's own are of no narrower kind
        raise ValueError(f"{path} is no tokenizer of the library tokenizers ({error}).") from error
    found.no_padding()
    found.no_truncation()
    largest = max(found.get_vocab().values(), default=0)
    if largest >= tokens:
        raise ValueError(
            f"{path} has {largest + 1} tokens and the text tower {tokens}; it is another model's."
        )
    names = read_json(path.parent / _CONFIG) if (path.parent / _CONFIG).is_file() else {}
    plain, whole = (found.encode("a", add_special_tokens=s).ids for s in (False, True))
    places = [i for i in range(len(whole)) if whole[i : i + len(plain)] == plain]
    place = places[0] if plain and places else 0
    start, behind = whole[:place], whole[place + len(plain) :]
    end = behind[0] if behind else _token(found, names, "eos_token")
    if end is None:
        raise ValueError(f"{path} has no end token; name it as eos_token in {_CONFIG} beside it.")
    pad = _token(found, names, "pad_token")
    clean = CLEANINGS[cleaning]
    return Tokenizer(
        encode=lambda text: found.encode(clean(text), add_special_tokens=False).ids,
        vocabulary=lambda: [found.id_to_token(token) or "" for token in range(tokens)],
        start=tuple(start),
        end=end,
        pad=end if pad is None else pad,
        context_length=context_length,
        name=name,
    )


def _token(found: Any, names: object, key: str) -> int | None:  # noqa: ANN401
    """The id of a token that a tokenizer_config.json names, as a text or with its options."""
    value = names.get(key) if isinstance(names, dict) else None
    value = value.get("content") if isinstance(value, dict) else value
    return found.token_to_id(value) if isinstance(value, str) else None
