"""Honest files, damaged at random."""

from __future__ import annotations

import functools
import io
import random
import zipfile
from collections.abc import Callable

from tests.helpers.hostile.valid import all_valid, header_and, in_zip

KINDS = tuple(all_valid())
_CHANGES_AT_ONCE = (1, 1, 1, 2, 4)
_NUMBERS = [b"0", b"-1", b"9" * 30, b"1e999", b"NaN", b"2147483648", b"0x10", b"None", b"\xd9\xa3"]
_WORDS = [
    *(b" ", b"\t", b"\n", b"\r\n", b"\x00", b"\x85", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80"),
    *(b"[", b"]", b"{", b"}", b"(", b")", b'"', b"'", b":", b",", b"-", b"!!", b"&a", b"*a", b"%"),
    *(b"a.jpg", b"cat", b"_BASE_", b"../x", b"<a>", b"&e;", b"<!DOCTYPE", b"true", b"~"),
]
_OPCODES = (
    b"(.0123FIJKLMNPRSTUVXabcdeghijlopqrstu}])\x80\x81\x82\x85\x86\x87\x88\x89\x8a\x8c\x93\x94"
)


def damaged(kind: str, rng: random.Random) -> bytes:
    """A damaged file of a kind, now and then one of random bytes."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(300))
    content = rng.choice(all_valid()[kind])
    if rng.random() < 0.5:
        return _within(content, rng)
    return _changed(content, rng)


def _within(content: bytes, rng: random.Random) -> bytes:
    """Damage a part of a file whose frame stays whole; the file itself if it has no frame."""
    if content.startswith(b"PK"):
        records = dict(_records(content))
        if records:
            name = rng.choice(sorted(records))
            return in_zip({**records, name: _changed(records[name], rng)})
    length = int.from_bytes(content[:8], "little")
    if 2 <= length <= len(content) - 8 and content[8:9] == b"{":
        return header_and(_changed(content[8 : 8 + length], rng), content[8 + length :])
    return _changed(content, rng)


@functools.cache
def _records(content: bytes) -> tuple[tuple[str, bytes], ...]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return tuple((name, archive.read(name)) for name in archive.namelist())


def _changed(content: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice(_CHANGES_AT_ONCE)):
        content = rng.choice(_CHANGES)(content, rng)
    return content


def _place(content: bytes, rng: random.Random) -> int:
    # Headers are where the decisions are.
    return rng.randrange(min(len(content), rng.choice((64, 512, 1 << 20))) + 1)


def _flip(content: bytes, rng: random.Random) -> bytes:
    place = _place(content, rng)
    return (
        content[:place]
        + bytes(b ^ 1 << rng.randrange(8) for b in content[place : place + 1])
        + (content[place + 1 :])
    )


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: _place(content, rng)]


def _leave_out(content: bytes, rng: random.Random) -> bytes:
    place = _place(content, rng)
    return content[:place] + content[place + rng.randint(1, 20) :]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    place = _place(content, rng)
    part = content[place : place + rng.randint(1, 30)]
    return content[:place] + part * rng.choice((1, 1, 2, 100)) + content[place:]


def _put(words: list[bytes]) -> Callable[[bytes, random.Random], bytes]:
    def change(content: bytes, rng: random.Random) -> bytes:
        place, word = _place(content, rng), rng.choice(words)
        return content[:place] + word + content[place + rng.choice((0, len(word))) :]

    return change


def _integer(content: bytes, rng: random.Random) -> bytes:
    """A number in a header becomes the smallest, the largest, or another one near it."""
    place, width = _place(content, rng), rng.choice((1, 2, 4, 8))
    number = rng.choice(
        (0, 1, (1 << 8 * width) - 1, 1 << 8 * width - 1, rng.getrandbits(8 * width))
    )
    return content[:place] + number.to_bytes(width, "little") + content[place + width :]


def _number(content: bytes, rng: random.Random) -> bytes:
    """One run of digits becomes another number."""
    digits = [place for place, byte in enumerate(content[:4096]) if 48 <= byte <= 57]
    if not digits:
        return content
    place = rng.choice(digits)
    return content[:place] + rng.choice(_NUMBERS) + content[place + 1 :]


_CHANGES = (
    *(_flip, _cut, _leave_out, _repeat, _integer, _number, _put(_WORDS)),
    _put([bytes([opcode]) for opcode in _OPCODES]),
)
