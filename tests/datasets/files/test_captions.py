from __future__ import annotations

import json
import random

import pytest

from datasets.files.captions import captions_of, read_captions
from datasets.files.text_rows import DataFileError

TEXT = (
    "train/a.jpg a cat on a sofa.\r\n"
    "my photos/b c.jpg two  dogs, one like dog.jpg \r\n"
    "\r\n"
    "train/a.jpg a sofa, with a cat 3"
)
COCO = {
    "info": {"year": 2017},
    "images": [
        {"id": 7, "file_name": "000007.jpg", "height": 4},
        {"id": 9, "file_name": "000009.jpg"},
        {"id": 11, "file_name": "000011.jpg"},
    ],
    "annotations": [
        {"id": 1, "image_id": 9, "caption": "a bus\nin a street. "},
        {"id": 2, "image_id": 7, "caption": "a kite"},
        {"id": 3, "image_id": 9, "caption": "a red bus"},
    ],
}


@pytest.fixture
def write(tmp_path):
    def to_file(content: object, name: str = "captions.json"):
        path = tmp_path / name
        if not isinstance(content, (str, bytes)):
            content = json.dumps(content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to_file


def test_text_rows_are_gathered_by_path(write):
    assert read_captions(write(TEXT, "captions.txt")) == {
        "train/a.jpg": ["a cat on a sofa.", "a sofa, with a cat 3"],
        "my photos/b c.jpg": ["two  dogs, one like dog.jpg"],
    }


def test_coco_json_is_joined_by_image_id_and_prefixed(write):
    path = write(b"\xef\xbb\xbf" + json.dumps(COCO).encode())
    assert read_captions(path, prefix="train2017") == {
        "train2017/000009.jpg": ["a bus in a street.", "a red bus"],
        "train2017/000007.jpg": ["a kite"],
    }


def test_captions_of_given_images(write):
    path = write(COCO)
    images = ["train2017/000009.jpg", "train2017/other.jpg"]
    assert captions_of(images, path, "train2017") == {
        "train2017/000009.jpg": ["a bus in a street.", "a red bus"],
        "train2017/other.jpg": [],
    }
    with pytest.raises(ValueError, match=r"begin with '000009\.jpg', .* 'train2017/000009\.jpg'"):
        captions_of(images, path)


def test_prefix_applies_to_text_too(write):
    assert list(read_captions(write("a.jpg x", "c.txt"), prefix="p/")) == ["p/a.jpg"]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("a.jpg words\nb.jpg", "line 2: 'b.jpg': no caption follows the path"),
        (b"a.jpg caf\xe9", "byte 10 is not UTF-8"),
        ("\n\n", "holds no caption"),
    ],
)
def test_text_rules(write, content, rule):
    with pytest.raises(DataFileError) as caught:
        read_captions(write(content, "captions.txt"))
    assert rule in str(caught.value)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"images": None}, "expected an object with a list 'images'"),
        ({"annotations": {}}, "expected an object with a list 'annotations'"),
        ({"annotations": []}, "holds no caption"),
        ({"images": COCO["images"] + [{"id": 7, "file_name": "x"}]}, "'images[3]': id 7 is rep"),
        ({"images": COCO["images"] + [{"id": 8}]}, "'images[3]': expected 'id' (integer or text)"),
        ({"images": COCO["images"] + [{"id": True, "file_name": "x"}]}, "expected 'id'"),
        ({"annotations": [{"image_id": 8, "caption": "x"}]}, "no image has the id 8"),
        ({"annotations": [{"image_id": 7, "caption": " "}]}, "the caption is empty"),
        ({"annotations": [{"image_id": [], "caption": "x"}]}, "expected 'image_id'"),
        ({"annotations": ["a kite"]}, "'annotations[0]': expected 'image_id'"),
    ],
)
def test_json_rules(write, change, rule):
    with pytest.raises(DataFileError) as caught:
        read_captions(write(COCO | change))
    assert rule in str(caught.value)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ('{"images": [],\n"annotations": ]', "line 2: not valid JSON"),
        (b"\xff", "not UTF-8 text (byte 0)"),
        ("[" * 100_000, "not valid JSON"),
        ("9" * 5000, "not valid JSON"),
        ("[]", "expected an object"),
    ],
)
def test_what_is_not_json_is_refused(write, content, rule):
    with pytest.raises(DataFileError) as caught:
        read_captions(write(content))
    assert rule in str(caught.value)


@pytest.mark.parametrize("name", ["captions.txt", "captions.json"])
def test_any_content_is_parsed_or_refused(write, name):
    rng = random.Random(0)
    whole = TEXT.encode() if name.endswith("txt") else json.dumps(COCO).encode()
    outcomes = {"parsed": 0, "refused": 0}
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(content))
            content[at : at + rng.randrange(3)] = rng.choice(
                [b"\n", b" ", b'"', b"]", b"9", b"\xc3", bytes([rng.randrange(256)])]
            )
        try:
            captions = read_captions(write(bytes(content), name))
            assert captions and all(captions.values())
            outcomes["parsed"] += 1
        except DataFileError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20
