"""Hostile yaml, lists, labels, captions, JSON, XML and words of the command line."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.hostile.trial import canary

_PYTHON = "open({marker!r}, 'w').close()\n"


def _imports(path: Path) -> None:
    (path.parent / "evil.py").write_text(_PYTHON.format(marker=str(canary(path.parent))))
    path.write_text("_BASE_: [evil.py]\n")


def _calls(path: Path) -> None:
    path.write_text(f"A: !!python/object/apply:os.system ['touch {canary(path.parent)}']\n")


def _evaluates(path: Path) -> None:
    path.write_text(f"OPTIM.LR\n__import__('os').system('touch {canary(path.parent)}')")


def _laughs() -> str:
    steps = [f"A{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    return "\n".join(["A0: &a0 [x]", *steps])


def _entities(levels: int = 30) -> str:
    names = "".join(f'<!ENTITY e{n} "&e{n - 1};&e{n - 1};">' for n in range(1, levels))
    return f'<!DOCTYPE a [<!ENTITY e0 "xxxxxxxx">{names}]><annotation>&e{levels - 1};</annotation>'


_ZEROS = b"0 " * 500_000
_NESTED = "[" * 200_000
_UNKNOWN = "<object><name>catt</name></object>"
_OUTSIDE = '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><annotation>&e;</annotation>'

TEXTS = [  # kind, what is wrong, content or what writes it
    ("yaml", "imports a program", _imports),
    ("yaml", "calls a function", _calls),
    ("yaml", "laughs", _laughs()),
    ("yaml", "is deep", "A: " + _NESTED),
    ("yaml", "builds on itself", "_BASE_: [my.yaml]\n"),
    ("yaml", "builds on a device", "_BASE_: [/dev/zero]\n"),
    ("yaml", "has a number of many digits", "A: " + "9" * 100_000),
    ("yaml", "is large", "A: 1\n" * 1_000_000),
    ("override", "evaluates", _evaluates),
    ("override", "is deep", "OPTIM.LR\n" + _NESTED),
    ("override", "has a number of many digits", "OPTIM.LR\n" + "9" * 4000),
    ("override", "multiplies", "INPUT.SIZE\n[0] * 10 ** 9"),
    ("list", "a row of 500,000 ids", b"a.jpg " + b" ".join(b"%d" % n for n in range(500_000))),
    ("list", "a row of one id many times", b"a.jpg " + _ZEROS),
    ("list", "a row of 500,000 words", b"a.jpg " + b"x " * 500_000),
    ("list", "a million broken rows", b"\x01\n" * 1_000_000),
    ("list", "one endless word", b"a" * 5_000_000),
    ("list", "many suffixes", b"a.jp" * 1_000_000),
    ("labels", "an id of many digits", "cat " + "9" * 1_000_000),
    ("labels", "names alone", "cat\n" * 300_000),
    ("labels", "no text", bytes(range(256)) * 1000),
    ("captions", "no captions", b"a.jpg\n" * 500_000),
    ("captions", "half a character", b"a.jpg a \xed\xa0\x80 cat\n" * 100_000),
    ("captions json", "is deep", _NESTED),
    ("captions json", "has a number of many digits", "9" * 1_000_000),
    ("captions json", "records of nothing", '{"images": [' + "{}," * 500_000 + "{}]}"),
    ("synonyms", "a million unknown classes", "".join(f"c{n}: a\n" for n in range(200_000))),
    ("synonyms", "a class of a long name", "x" * 1_000_000 + ": cat\n"),
    ("templates", "one line without a place", "a" * 900_000),
    ("templates", "is large", "{}\n" * 1_000_000),
    ("descriptions", "is deep", '{"cat": ' + _NESTED),
    ("descriptions", "a class of a long name", '{"' + "x" * 1_000_000 + '": []}'),
    ("result", "is deep", _NESTED),
    ("result", "is large", "[" + "[0]," * 5_000_000 + "0]"),
    ("hugging face", "is deep", _NESTED),
    ("hugging face", "other types", '{"vision_config": {"hidden_act": {}}, "text_config": {}}'),
    ("hugging face", "a giant", '{"text_config": {}, "vision_config": {"hidden_size": 1e999}}'),
    ("open_clip", "is deep", _NESTED),
    ("open_clip", "a million layers", '{"vision_cfg": {"layers": [' + "9," * 1_000_000 + "9]}}"),
    ("open_clip", "other types", '{"vision_cfg": {"width": []}, "text_cfg": {"layers": "x"}}'),
    ("colours", "is deep", _NESTED),
    ("colours", "other types", '{"image_mean": {"a": 1}, "image_std": [null, "x", 1e999]}'),
    ("annotation", "laughs", _entities()),
    ("annotation", "names a file outside", _OUTSIDE),
    ("annotation", "is deep", "<a>" * 300_000),
    ("annotation", "is a deep annotation", "<annotation>" + "<a>" * 300_000),
    ("annotation", "ten thousand classes", f"<annotation>{_UNKNOWN * 10_000}</annotation>"),
    ("instances", "is deep", "[" * 100_000),
    ("instances", "an id of thousands of digits", '{"images": [{"id": ' + "9" * 10_000 + "}]}"),
    ("class split", "a million classes", "".join(f"c{n} seen\n" for n in range(1_000_000))),
    ("class split", "a class of a long name", "x" * 1_000_000 + " seen\n"),
    ("concept", "a row of a million", "1" * 1_000_000 + "\n0\n"),
    ("concept", "other digits", "\u0661\n0\n"),
    ("pointer", "is large", "model" * 100_000),
    ("pointer", "names a device", "/dev/zero\n"),
    ("pointer", "names a folder", "..\n"),
    ("owner", "is deep", _NESTED),
    ("owner", "other types", '{"pid": "x", "host": 1, "since": [], "command": {}}'),
]
