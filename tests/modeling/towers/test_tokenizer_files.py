"""Tokenizer files of other text towers."""

from __future__ import annotations

import json

import pytest

from modeling.towers.tokenizer_files import CLEANINGS, read_tokenizer
from tests.helpers.models.small_towers import WORDS, write_tokenizer

TOKENS = len(WORDS) + 3


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    write_tokenizer(tmp_path)
    return tmp_path


def read(folder, cleaning="whitespace", length=8, tokens=TOKENS):
    return read_tokenizer(folder / "tokenizer.json", cleaning, length, tokens, "Small")


def test_rows_are_the_librarys_own(folder):
    from tokenizers import Tokenizer

    library = Tokenizer.from_file(str(folder / "tokenizer.json"))
    library.enable_padding(length=8, pad_id=1)
    texts = ["a cat", "a photo of a dog on the"]
    rows = read(folder).rows(texts)
    assert rows.tolist() == [found.ids for found in library.encode_batch(texts)]
    assert read(folder).end_positions(rows).tolist() == [2, 7]


def test_a_start_token_is_found(folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    start = {"SpecialToken": {"id": "<unk>", "type_id": 0}}
    content["post_processor"]["single"].insert(0, start)
    content["post_processor"]["special_tokens"]["<unk>"] = {
        "id": "<unk>",
        "ids": [0],
        "tokens": ["<unk>"],
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    tokenizer = read(folder)
    assert tokenizer.start == (0,) and tokenizer.end == 1
    assert tokenizer.rows(["cat"]).tolist()[0][:3] == [0, *tokenizer.encode("cat"), 1]


@pytest.mark.parametrize(
    ("cleaning", "text"), [("whitespace", "A cat."), ("lower", "a cat."), ("canonicalize", "a cat")]
)
def test_cleaning(cleaning, text):
    assert CLEANINGS[cleaning](" A  cat. ") == text


def test_a_text_that_is_too_long_is_refused(folder):
    with pytest.raises(ValueError, match="Small takes 8 tokens, 9 are in: 'a cat a cat"):
        read(folder).rows(["a cat a cat a cat a cat"])


def test_the_vocabulary_has_a_word_for_each_row(folder):
    words = read(folder, tokens=TOKENS + 2).vocabulary()
    assert words[3:TOKENS] == WORDS and words[TOKENS:] == ["", ""]


@pytest.mark.parametrize("text", ["", "{}", '{"model": {"type": "BPE"}}', "\x00"])
def test_a_damaged_file_is_refused_in_a_sentence(text, folder):
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(ValueError, match="tokenizer.json is no tokenizer"):
        read(folder)


def test_more_tokens_than_the_tower_has_are_refused(folder):
    with pytest.raises(ValueError, match=f"has {TOKENS} tokens and the text tower 5"):
        read(folder, tokens=5)


def test_without_an_end_token_it_asks_for_its_name(folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    content["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert read(folder).end == 1  # as tokenizer_config.json has it
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(ValueError, match="no end token; name it as eos_token"):
        read(folder)
