from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from loading.cache.feature_key import (
    clip_digest,
    encoder_key,
    picture_digests,
    preprocessing_key,
    weights_digest,
)
from loading.transforms import Cutout, fixed_transform
from modeling.clip.architecture import Architecture, Tower
from modeling.clip.loader import build_clip, load_clip
from modeling.encoders.dense_image_encoder import DenseImageEncoder
from modeling.encoders.image_encoder import ImageEncoder
from modeling.encoders.text_encoder import TextEncoder
from tests.helpers.models.foreign_names import hugging_faces
from tests.helpers.models.small_clip import openai_weights, random_clip, with_gelu
from tests.helpers.sets.small_pictures import read, write_pictures

CPU = torch.device("cpu")


@pytest.fixture
def paths(tmp_path):
    return [picture.impath for picture in write_pictures(tmp_path)]


def transform(side=32, resize="squash", mode="bicubic", mean=0.5):
    return fixed_transform((side, side), resize, mode, [mean] * 3, [0.25] * 3)


class TestEncoderKey:
    def key(self, encoder=None, precision="fp32", device=CPU):
        return encoder_key(encoder or ImageEncoder(random_clip()), precision, device)

    @pytest.mark.parametrize("kind", [ImageEncoder, DenseImageEncoder])
    def test_the_same_encoder_has_the_same_key(self, kind, tower):
        first, second = (self.key(kind(random_clip(tower))) for _ in range(2))
        assert first == second and all(isinstance(word, str) for word in first.values())

    def test_every_weight_counts(self):
        expected = self.key()
        for name in ("visual.conv1.weight", "visual.ln_post.bias"):
            clip_model = random_clip()
            clip_model.get_parameter(name).data.flatten()[-1] += 1e-3
            assert self.key(ImageEncoder(clip_model)) != expected

    def test_kind_options_precision_and_device_count(self):
        keys = [
            self.key(),
            self.key(DenseImageEncoder(random_clip())),
            self.key(DenseImageEncoder(random_clip(), vit="last")),
            self.key(precision="amp"),
            self.key(device=torch.device("cuda")),
        ]
        assert len({tuple(key.items()) for key in keys}) == len(keys)

    def test_the_order_of_a_set_does_not_count(self):
        encoders = [ImageEncoder(random_clip()) for _ in range(3)]
        words = [f"word {i}" for i in range(50)]
        for encoder, own in zip(encoders, (words, words[::-1], words[1:]), strict=True):
            encoder.words = set(own)
        first, same, other = map(self.key, encoders)
        assert first == same != other

    @pytest.mark.parametrize("kind", [ImageEncoder, DenseImageEncoder, TextEncoder])
    def test_the_architecture_counts(self, kind):
        own = random_clip().state_dict()
        tower = Tower(heads=2), Tower(eps=1e-6)
        keys = [
            self.key(kind(build_clip(own, torch.float32, "the test", architecture)))
            for architecture in (
                Architecture(),
                Architecture("gelu"),
                *(Architecture(image=other, text=other) for other in tower),
            )
        ]
        assert len({tuple(key.items()) for key in keys}) == len(keys)

    def test_the_same_clip_has_the_same_key_in_every_format(self, tmp_path):
        own = openai_weights(random_clip())
        torch.save(own, tmp_path / "openai.pt")
        torch.save(hugging_faces(own), tmp_path / "hugging_face.bin")
        first = load_clip(str(tmp_path / "openai.pt"))
        second = load_clip(str(tmp_path / "hugging_face.bin"), activation="quickgelu")
        assert self.key(ImageEncoder(first)) == self.key(ImageEncoder(second))

    def test_the_source_of_its_classes_counts(self, tmp_path, monkeypatch):
        source = "from torch import nn\nclass Encoder(nn.Module):\n    shift = {}\n"
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "an_encoder.py").write_text(source.format(1))
        import an_encoder

        before = self.key(an_encoder.Encoder())
        assert before == self.key(an_encoder.Encoder())
        (tmp_path / "an_encoder.py").write_text(source.format(2))
        assert before != self.key(an_encoder.Encoder())

    def test_digests_tell_types_and_shapes_apart(self):
        def digest(weight):
            module = nn.Module()
            module.register_buffer("weight", weight)
            return weights_digest(module)

        zeros = [
            torch.zeros(4),
            torch.zeros(2, 2),
            torch.zeros(8, dtype=torch.float16),
            torch.zeros(()),
            torch.zeros(4, dtype=torch.bfloat16),
        ]
        assert len({digest(weight) for weight in zeros}) == len(zeros)
        assert digest(torch.zeros(4)) == digest(torch.zeros(4))


class TestPictureDigests:
    def test_relative_paths_mean_the_same(self, paths, monkeypatch):
        monkeypatch.chdir(os.path.dirname(paths[0]))
        relative = [os.path.basename(path) for path in paths]
        assert picture_digests(relative).tolist() == picture_digests(paths).tolist()

    def test_a_picture_keeps_its_digest_wherever_it_stands(self, paths):
        found = picture_digests(paths)
        assert found.shape == (len(paths), 16) and len(np.unique(found, axis=0)) == len(paths)
        assert picture_digests(paths[::-1])[::-1].tolist() == found.tolist()
        placed = picture_digests(paths, by_place=True)
        assert picture_digests(paths[:2], by_place=True).tolist() == placed[:2].tolist()
        assert (picture_digests(paths[::-1], by_place=True)[::-1] != placed).any(1).sum() >= 2

    def test_size_time_and_presence_count(self, paths):
        def digest():
            return picture_digests(paths)[3].tobytes()

        key = digest()
        status = os.stat(paths[3])
        os.utime(paths[3], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        touched = digest()
        with open(paths[3], "ab") as file:
            file.write(b"more")
        os.utime(paths[3], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        longer = digest()
        os.unlink(paths[3])
        assert len({key, touched, longer, digest()}) == 4


class TestPreprocessingKey:
    def test_the_same_transform_has_the_same_key(self):
        assert preprocessing_key(read, transform()) == preprocessing_key(read, transform())

    @pytest.mark.parametrize(
        "change",
        [
            {"side": 24},
            {"resize": "crop"},
            {"mode": "bilinear"},
            {"mean": 0.4},
        ],
    )
    def test_every_part_of_the_transform_counts(self, change):
        changed = preprocessing_key(read, transform(**change))
        assert changed != preprocessing_key(read, transform())

    def test_options_that_repr_does_not_show_count(self):
        small, large = (v2.Compose([Cutout(1, side)]) for side in (8, 9))
        assert repr(small) == repr(large)
        assert preprocessing_key(read, small) != preprocessing_key(read, large)

    def test_what_has_no_words_is_never_taken_for_another(self):
        one, other = (v2.Compose([v2.Lambda(lambda x, k=k: x + k)]) for k in (1, 2))
        first = {**preprocessing_key(read, one)}
        one.opaque, other.opaque = object(), object()
        assert first != preprocessing_key(read, one) != preprocessing_key(read, other)

    def test_the_source_of_the_reader_counts(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "a_reader.py").write_text("def read(path):\n    return path\n")
        import a_reader

        before = preprocessing_key(a_reader.read, None)
        assert before != preprocessing_key(read, None)
        (tmp_path / "a_reader.py").write_text("def read(path):\n    return path[1:]\n")
        assert before != preprocessing_key(a_reader.read, None)


def test_a_clips_digest_is_its_weights_and_any_other_activation():
    clip_model = random_clip("RN")
    before = clip_digest(clip_model)
    assert before == weights_digest(clip_model)
    assert clip_digest(with_gelu(clip_model)) == f"{before} gelu"
