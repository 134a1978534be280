from __future__ import annotations

import io
import os
import pickle
import struct
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageOps

from common.readers import picture_files
from loading.images import PictureError, check_pictures, read_picture

DATA = Path(os.environ.get("LMPT_REAL_DATA", "data"))
ORANGE, WHITE = (240, 140, 30), (255, 255, 255)


def scene(width: int = 24, height: int = 16) -> Image.Image:
    """Return a picture without any symmetry."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def pixels(path: Path) -> np.ndarray:
    image = read_picture(path)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def near(found: np.ndarray, expected: object, tolerance: int = 4) -> bool:
    return bool(np.abs(found - np.asarray(expected).astype(int)).max() <= tolerance)


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        *((suffix, mode) for suffix in ("jpg", "webp", "ppm") for mode in ("RGB", "L")),
        *((suffix, m) for suffix in ("png", "bmp", "gif", "tiff") for m in ("RGB", "L", "1", "P")),
    ],
)
def test_ordinary_pictures_are_what_pillow_converts(suffix, mode, tmp_path):
    path = tmp_path / f"a.{suffix}"
    scene().convert(mode).save(path)
    with Image.open(path) as image:
        assert np.array_equal(pixels(path), np.asarray(image.convert("RGB")))


class TestOrientation:
    @pytest.mark.parametrize("value", range(1, 9))
    @pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
    def test_pictures_are_turned_upright(self, value, suffix, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = value
        path = tmp_path / f"a.{suffix}"
        scene().save(path, exif=exif)
        with Image.open(path) as image:
            expected = ImageOps.exif_transpose(image)
        assert read_picture(path).size == ((16, 24) if value > 4 else (24, 16))
        assert np.array_equal(pixels(path), np.asarray(expected))

    @pytest.mark.parametrize(
        "block", [b"Exif\0\0not a tiff header", b"Exif\0\0II*\0\xff\xff\xff\xff"]
    )
    def test_a_broken_tag_block_does_not_cost_the_picture(self, block, tmp_path):
        path = tmp_path / "a.jpg"
        scene().save(path, exif=block)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert pixels(path).shape == (16, 24, 3)


class TestTransparency:
    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    @pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
    def test_transparent_parts_are_white(self, mode, suffix, tmp_path):
        image = Image.new("RGBA", (8, 8), (*ORANGE, 255))
        image.paste((10, 20, 30, 0), (0, 0, 4, 8))
        path = tmp_path / f"a.{suffix}"
        image.convert(mode).save(path, **({"lossless": True} if suffix == "webp" else {}))
        found = pixels(path)
        assert near(found[:, :4], WHITE)
        grey = Image.new("RGB", (1, 1), ORANGE).convert("L").getpixel((0, 0))
        assert near(found[:, 4:], ORANGE if mode == "RGBA" else (grey,) * 3)

    def test_half_transparent_parts_are_mixed_with_white(self, tmp_path):
        Image.new("RGBA", (4, 4), (0, 0, 0, 128)).save(tmp_path / "a.png")
        assert near(pixels(tmp_path / "a.png"), (127, 127, 127), 1)

    def test_a_palette_with_a_transparent_colour(self, tmp_path):
        for suffix in ("png", "gif"):
            image = Image.new("P", (8, 8), 1)
            image.putpalette([10, 20, 30, *ORANGE])
            image.paste(0, (0, 0, 4, 8))
            path = tmp_path / f"a.{suffix}"
            image.save(path, transparency=0)
            assert near(pixels(path)[:, :4], WHITE) and near(pixels(path)[:, 4:], ORANGE)

    def test_a_transparent_colour_of_an_opaque_mode(self, tmp_path):
        image = Image.new("RGB", (8, 8), ORANGE)
        image.paste((1, 2, 3), (0, 0, 4, 8))
        image.save(tmp_path / "a.png", transparency=(1, 2, 3))
        found = pixels(tmp_path / "a.png")
        assert near(found[:, :4], WHITE) and near(found[:, 4:], ORANGE)


class TestDepth:
    @pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
    def test_16_bit_grey_is_scaled_not_clipped(self, suffix, tmp_path):
        levels = np.linspace(0, 65535, 8 * 32).astype(np.uint16).reshape(8, 32)
        path = tmp_path / f"a.{suffix}"
        if suffix == "pgm":
            path.write_bytes(b"P5 32 8 65535\n" + levels.astype(">u2").tobytes())
        else:
            Image.fromarray(levels).save(path)
        assert near(pixels(path), np.repeat(levels[..., None] / 257, 3, axis=2), 1)

    def test_big_endian_tiff(self, tmp_path):
        levels = np.linspace(0, 65535, 256).astype(np.uint16).reshape(8, 32)
        image = Image.frombytes("I;16B", (32, 8), levels.astype(">u2").tobytes())
        image.save(tmp_path / "a.tiff")
        with Image.open(tmp_path / "a.tiff") as saved:
            assert saved.mode == "I;16B"
        assert near(pixels(tmp_path / "a.tiff"), levels[..., None] / 257, 1)

    def test_floating_point_has_no_defined_range(self, tmp_path):
        Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tiff")
        with pytest.raises(PictureError, match=r"a\.tiff: floating-point pixels.*8-bit RGB"):
            read_picture(tmp_path / "a.tiff")


class TestInk:
    def ink(self) -> Image.Image:
        return Image.new("RGB", (16, 16), ORANGE).convert("CMYK")

    def test_adobes_inverted_cmyk(self, tmp_path):
        self.ink().save(tmp_path / "a.jpg", quality=98)
        with Image.open(tmp_path / "a.jpg") as image:
            assert image.mode == "CMYK" and "adobe" in image.info
        assert near(pixels(tmp_path / "a.jpg"), ORANGE)

    def test_plain_cmyk(self, tmp_path):
        buffer = io.BytesIO()
        ImageChops.invert(self.ink()).save(buffer, "JPEG", quality=98)
        content = buffer.getvalue()
        at = content.index(b"\xff\xee")  # Adobe's marker segment
        length = struct.unpack(">H", content[at + 2 : at + 4])[0]
        (tmp_path / "a.jpg").write_bytes(content[:at] + content[at + 2 + length :])
        with Image.open(tmp_path / "a.jpg") as image:
            assert image.mode == "CMYK" and "adobe" not in image.info
        assert near(pixels(tmp_path / "a.jpg"), ORANGE)

    def test_cmyk_tiff(self, tmp_path):
        self.ink().save(tmp_path / "a.tiff")
        assert near(pixels(tmp_path / "a.tiff"), ORANGE)


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (ORANGE, (0, 0, 200))]
    for suffix in ("gif", "webp", "png"):
        path = tmp_path / f"a.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        assert near(pixels(path), ORANGE, 8)


class TestFailures:
    def error(self, path: Path) -> str:
        with pytest.raises(PictureError) as caught:
            read_picture(path)
        assert str(path) in str(caught.value)
        return str(caught.value)

    @pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "bmp", "tiff"])
    @pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
    def test_truncated(self, suffix, share, tmp_path):
        path = tmp_path / f"a.{suffix}"
        noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        assert "take it out of the lists" in self.error(path)

    def test_empty_absent_and_no_picture(self, tmp_path):
        (tmp_path / "empty.jpg").touch()
        (tmp_path / "page.jpg").write_text("<html>404</html>")
        assert "the file is empty" in self.error(tmp_path / "empty.jpg")
        assert "page.jpg: is no picture of a known format (JPEG, PNG" in self.error(
            tmp_path / "page.jpg"
        )
        assert "there is no such file" in self.error(tmp_path / "none.jpg")
        assert "take it out" in self.error(tmp_path)  # a folder

    def test_a_bomb_is_named_with_its_size(self, tmp_path, monkeypatch):
        scene().save(tmp_path / "a.png")
        monkeypatch.setattr(picture_files, "MAX_PIXELS", 383)
        assert "24 x 16 pixels, expected at most 383" in self.error(tmp_path / "a.png")
        monkeypatch.setattr(picture_files, "MAX_PIXELS", 384)
        assert pixels(tmp_path / "a.png").shape == (16, 24, 3)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        assert "too many pixels" in self.error(tmp_path / "a.png")

    def test_formats_of_foreign_programs_are_no_pictures(self, tmp_path):
        scene().save(tmp_path / "a.eps")
        (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
        assert "no picture of a known format" in self.error(tmp_path / "a.jpg")

    @pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tiff", "bmp"])
    def test_any_damage_is_read_or_reported(self, suffix, tmp_path):
        path = tmp_path / f"a.{suffix}"
        scene().save(path)
        whole = path.read_bytes()
        rng = np.random.default_rng(0)
        outcomes = {"read": 0, "refused": 0}
        for _ in range(150):
            content = bytearray(whole)
            for _ in range(rng.integers(1, 9)):
                content[rng.integers(len(content))] = rng.integers(256)
            path.write_bytes(content)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    assert read_picture(path).mode == "RGB"
                    outcomes["read"] += 1
                except PictureError:
                    outcomes["refused"] += 1
        assert min(outcomes.values()) > 0

    def test_it_crosses_processes(self, tmp_path):
        """As torch hands errors of its workers on: pickled, or made anew from the message."""
        error = PictureError("a.jpg: bad")
        assert (
            str(pickle.loads(pickle.dumps(error))) == str(type(error)(str(error))) == "a.jpg: bad"
        )


class TestCheckPictures:
    @pytest.mark.parametrize("workers", [1, 3])
    def test_problems_come_in_list_order(self, workers, tmp_path):
        paths = [tmp_path / f"{i}.jpg" for i in range(20)]
        for path in paths:
            scene().save(path)
        for bad in (3, 11, 17):
            paths[bad].write_bytes(paths[bad].read_bytes()[:300])
        problems = check_pictures([str(path) for path in paths], workers)
        assert [problem.split(":")[0] for problem in problems] == [
            str(paths[bad]) for bad in (3, 11, 17)
        ]

    def test_nothing_wrong(self, tmp_path):
        scene().save(tmp_path / "a.jpg")
        assert check_pictures([str(tmp_path / "a.jpg")]) == []
        assert check_pictures([]) == []


def test_an_ordinary_jpeg_costs_no_more_than_converting_it(tmp_path):
    path = tmp_path / "a.jpg"
    scene(500, 375).save(path)

    def convert(path):
        with Image.open(path) as image:
            return image.convert("RGB")

    def least(read):
        times = []
        for _ in range(25):
            start = time.thread_time()  # other processes do not count
            read(path)
            times.append(time.thread_time() - start)
        return min(times)

    assert least(read_picture) < 1.3 * least(convert)


def test_real_pictures():
    paths = [str(path) for path in sorted(DATA.rglob("*.jpg"))]
    if not paths:
        pytest.skip(f"no pictures in {DATA}; set LMPT_REAL_DATA to a folder that has some")
    assert check_pictures(paths, workers=2) == []
