"""Captions for any image list; the captioning model is a stand-in, but for one test."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from datasets.files.captions import read_captions
from scripts import caption_images

SCRIPT = Path(caption_images.__file__)
COUNT = 7


class BrightnessCaptioner:
    """Tells the red value of each picture, and may be killed in a given batch."""

    def __init__(self, killed_in: int | None = None) -> None:
        self.killed_in = killed_in
        self.sizes: list[int] = []

    def __call__(self, images):
        if len(self.sizes) == self.killed_in:
            raise KeyboardInterrupt
        self.sizes.append(len(images))
        assert all(image.mode == "RGB" for image in images)
        return [f"a red of\n {image.getpixel((0, 0))[0]} " for image in images]


@pytest.fixture
def root(tmp_path):
    """A list of pictures named in several ways, one of them grey."""
    names = [f"my pictures/{i}.png" for i in range(COUNT - 1)] + ["grey.png"]
    (tmp_path / "my pictures").mkdir()
    for i, name in enumerate(names[:-1]):
        Image.new("RGBA", (6, 5), (10 * i, 0, 0, 255)).save(tmp_path / name)
    Image.new("L", (6, 5), 200).save(tmp_path / names[-1])
    rows = [f"{name} {i % 3} 4\r\n" for i, name in enumerate(names)]
    (tmp_path / "list.txt").write_text("".join([*rows, "\n", rows[0]]))  # one of them twice
    return tmp_path


def run(root: Path, captioner=None, *more: str) -> int:
    words = [str(root / "list.txt"), "--root", str(root), "--output", str(root / "c" / "c.txt")]
    words += ["--model", "stub", "--batch-size", "3", *more]
    return caption_images.main(words, lambda *_: captioner or BrightnessCaptioner())


def captions(root: Path) -> dict[str, list[str]]:
    return read_captions(root / "c" / "c.txt")


def expected() -> dict[str, list[str]]:
    reds = {f"my pictures/{i}.png": 10 * i for i in range(COUNT - 1)} | {"grey.png": 200}
    return {name: [f"a red of {red}"] for name, red in reds.items()}


def test_each_image_gets_its_caption_once(root):
    captioner = BrightnessCaptioner()
    assert run(root, captioner) == 0
    assert captioner.sizes == [3, 3, 1]
    assert captions(root) == expected()
    assert list(captions(root)) == list(expected())


def test_it_goes_on_where_it_was_killed(root):
    with pytest.raises(KeyboardInterrupt):
        run(root, BrightnessCaptioner(killed_in=1))
    assert len(captions(root)) == 3
    captioner = BrightnessCaptioner()
    assert run(root, captioner) == 0
    assert captioner.sizes == [3, 1]
    assert captions(root) == expected()


@pytest.mark.parametrize("cut", range(1, 45, 4))
def test_a_last_line_that_was_cut_short_is_written_anew(root, cut):
    run(root)
    output = root / "c" / "c.txt"
    output.write_bytes(output.read_bytes()[:-cut])
    assert run(root) == 0
    assert captions(root) == expected()


def test_nothing_to_do_needs_no_model(root, capsys):
    run(root)
    before = (root / "c" / "c.txt").read_bytes()
    words = [str(root / "list.txt"), "--root", str(root), "--output", str(root / "c" / "c.txt")]
    assert caption_images.main([*words, "--model", "none"], lambda *_: 1 / 0) == 0
    assert (root / "c" / "c.txt").read_bytes() == before
    assert f"{COUNT} of {COUNT} images have a caption" in capsys.readouterr().out


def test_the_options_reach_the_model(root):
    asked = []

    def build(*options):
        asked.append(options)
        return BrightnessCaptioner()

    words = [str(root / "list.txt"), "--root", str(root), "--output", str(root / "c.txt")]
    words += ["--model", "some/model", "--max-tokens", "9", "--beams", "2"]
    assert caption_images.main(words, build) == 0
    assert asked == [("some/model", 9, 2)]


def test_a_damaged_picture_and_a_silent_model(root, capsys):
    (root / "my pictures/1.png").write_bytes((root / "my pictures/1.png").read_bytes()[:40])

    class Shy(BrightnessCaptioner):
        def __call__(self, images):
            return [text if " 20" not in text else " " for text in super().__call__(images)]

    assert run(root, Shy()) == 1
    left = {k: v for k, v in expected().items() if k not in ("my pictures/1.png", "grey.png")}
    left.pop("my pictures/2.png")
    assert captions(root) == left
    err = capsys.readouterr().err
    assert "3 images got none" in err and "1.png: cannot be read" in err and "to say" in err
    Image.new("RGB", (6, 5), (10, 0, 0)).save(root / "my pictures/1.png")
    assert run(root) == 0  # only those three are done now
    assert captions(root) == expected()


def test_absent_pictures_are_told_before_the_model_is_loaded(root, capsys):
    (root / "grey.png").unlink()
    words = [str(root / "list.txt"), "--root", str(root), "--output", str(root / "c.txt")]
    assert caption_images.main([*words, "--model", "none"], lambda *_: 1 / 0) == 1
    err = capsys.readouterr().err
    assert f"1 of {COUNT} pictures" in err and str(root / "grey.png") in err and "--root" in err


def test_bad_files(root, capsys):
    (root / "list.txt").write_bytes(b"a.png 1\n\xff\xfe\n")
    assert run(root) == 1
    assert "line 2" in capsys.readouterr().err
    (root / "list.txt").write_text("\n")
    assert run(root) == 1
    assert "empty" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["0", "-1", "x"])
def test_bad_numbers(root, word, capsys):
    with pytest.raises(SystemExit):
        run(root, None, f"--beams={word}")
    assert "integer from 1" in capsys.readouterr().err


def test_without_transformers(root, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "transformers", None)
    words = [str(root / "list.txt"), "--root", str(root), "--output", str(root / "c.txt")]
    assert caption_images.main([*words, "--model", "none"]) == 1
    assert "pip install transformers" in capsys.readouterr().err


def test_our_datasets_package_stays_out_of_the_way(root):
    """A stand-in for transformers looks for `datasets` as the real one does."""
    site = root / "site"
    site.mkdir()
    (site / "transformers.py").write_text(
        "import importlib.util, sys\n"
        "assert 'datasets' not in sys.modules\n"
        "spec = importlib.util.find_spec('datasets')\n"
        "print('found', spec and spec.origin)\n"
        "raise ImportError('enough seen')\n"
    )
    project = SCRIPT.parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(project), str(site)])}
    words = ["list.txt", "--root", ".", "--output", "c.txt", "--model", "x"]
    words = [str(root / word) if word.endswith(".txt") or word == "." else word for word in words]
    for start in ([str(SCRIPT)], ["-m", "scripts.caption_images"]):
        done = subprocess.run(
            [sys.executable, *start, *words],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert "found" in done.stdout and str(project) not in done.stdout, done.stderr
        assert "enough seen" in done.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="transformers is not installed"
)
def test_a_real_model(root):
    """A tiny BLIP with random weights, in a process of its own."""
    make = root / "make.py"
    make.write_text(
        "import sys, torch\n"
        "from tokenizers import Tokenizer, models, pre_tokenizers\n"
        "from transformers import (BlipConfig, BlipForConditionalGeneration, BlipImageProcessor,\n"
        "                          PreTrainedTokenizerFast)\n"
        "torch.manual_seed(0)\n"
        "words = '[PAD] [UNK] [CLS] [SEP] [BOS] a dog cat on the table bus man with of'.split()\n"
        "tokens = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, '[UNK]'))\n"
        "tokens.pre_tokenizer = pre_tokenizers.Whitespace()\n"
        "small = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2,\n"
        "             intermediate_size=64)\n"
        "text = dict(small, vocab_size=len(words), encoder_hidden_size=32, bos_token_id=4,\n"
        "            eos_token_id=3, sep_token_id=3, pad_token_id=0, projection_dim=32)\n"
        "vision = dict(small, image_size=32, patch_size=8)\n"
        "config = BlipConfig(text_config=text, vision_config=vision, projection_dim=32)\n"
        "BlipForConditionalGeneration(config).save_pretrained(sys.argv[1])\n"
        "BlipImageProcessor(size=dict(height=32, width=32)).save_pretrained(sys.argv[1])\n"
        "PreTrainedTokenizerFast(tokenizer_object=tokens, pad_token='[PAD]', unk_token='[UNK]',\n"
        "    cls_token='[CLS]', sep_token='[SEP]', bos_token='[BOS]', eos_token='[SEP]',\n"
        ").save_pretrained(sys.argv[1])\n"
    )
    run_python = [sys.executable, str(make), str(root / "blip")]
    subprocess.run(run_python, check=True, cwd=root, capture_output=True)
    words = ["list.txt", "--root", str(root), "--output", "c.txt", "--model", "blip"]
    subprocess.run([sys.executable, str(SCRIPT), *words], check=True, cwd=root)
    assert set(read_captions(root / "c.txt")) == set(expected())
