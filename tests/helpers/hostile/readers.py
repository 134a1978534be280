"""Every kind of file that a user names, with its public reader and the errors that it documents."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.config.config_values import flatten, override, paired
from common.readers.npz_files import read_npz
from common.readers.yaml_files import read_with_bases
from common.run_lock import run_lock
from compat.bootstrap import ensure_dassl

ensure_dassl()

import dassl

from compat.checkpoint_reader import load_checkpoint
from configuration import default_cfg
from datasets.base.class_split import read_class_split
from datasets.base.partial_labels import shared_known_labels
from datasets.files.captions import read_captions
from datasets.files.class_freq import read_class_freq
from datasets.files.list_files import read_labels, read_list
from datasets.files.text_rows import DataFileError
from datasets.official.coco import read_instances
from datasets.official.nus_wide import read_nus_wide
from datasets.official.voc import YEAR_FOLDER
from datasets.texts.caption_labeler import read_synonyms
from evaluation.fitted.fitted_files import read_fitted
from evaluation.results.reports import load_results
from loading.cache.feature_files import CannotStoreError, FeatureFile
from loading.cache.feature_shards import FeatureShards
from loading.images import PictureError, read_picture
from modeling.clip.configs import config_beside, normalisation_note
from modeling.clip.formats import HUGGING_FACE, NATIVE
from modeling.clip.weight_files import read_state_dict
from modeling.encoders.features import Features
from modeling.prompts.class_prompts import read_descriptions, read_templates
from scripts.data.unpack_archive import ArchiveError, unpack
from scripts.data.voc_annotations import entries_from_annotations

PATHS = [f"images/{i}.jpg" for i in range(8)]
CLASSES = ["cat", "dog", "traffic light"]
VIEWS, IMAGES, WIDTH = 2, 8, 4
_KEY = {"code": "abc"}
_CFG = default_cfg()
_DEFAULTS = dict(flatten(_CFG))


@dataclass(frozen=True)
class Reader:
    """How a kind of file is read.

    Attributes:
        file: its place in a folder.
        read: the public function, given the file's path.
        errors: what it may raise, beside OSError.
        named: whether errors must name the file; words of the command line are in none.
    """

    file: str
    read: Callable[[Path], object]
    errors: tuple[type[Exception], ...] = (ValueError,)
    named: bool = True


def cache_in(folder: Path) -> FeatureFile:
    """The file of features whose damaged versions are read."""
    return FeatureFile(folder / "0.safetensors", _KEY, VIEWS)


def make(file: FeatureFile) -> object:
    """Write that file, unless it is there and whole."""
    return file.make(torch.zeros(IMAGES, 16, dtype=torch.uint8), fill)


def fill(put: Callable[[int, int, Features], None]) -> None:
    """Features for that file."""
    for view in range(VIEWS):
        put(view, 0, Features(torch.ones(IMAGES, WIDTH), None, None))


def _read_cache(path: Path) -> None:
    shards = FeatureShards(path.parent, _KEY, VIEWS)
    found = shards.read(np.zeros((IMAGES, 16), np.uint8), torch.device("cpu"))
    if found is not None and not bool((found.global_features == 1).all()):
        raise AssertionError("damaged features were served")


def _make_cache(path: Path) -> object:
    return make(cache_in(path.parent))


def _hold(folder: Path) -> None:
    with run_lock(folder):
        pass


def _resume(path: Path) -> object:
    from dassl.utils import resume_from_checkpoint

    return resume_from_checkpoint(str(path.parent), torch.nn.Linear(2, 2))


def _override(path: Path) -> Any:  # noqa: ANN401
    words = path.read_bytes().decode("utf-8", "replace").split("\n")
    return override(_CFG.clone(), paired(words, _DEFAULTS), _DEFAULTS, str(path))


def _read_concept(path: Path) -> object:
    """Ground truth of two training images, and of one test image."""
    folder = path.parents[2]
    texts = {
        "Concepts81.txt": "cat",
        "TrainImagelist.txt": "a\\1.jpg\na\\2.jpg",
        "TestImagelist.txt": "a\\3.jpg",
        f"{_LABELS}/Labels_cat_Test.txt": "1",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return read_nus_wide(folder)


_LABELS = "Groundtruth/TrainTestLabels"
_CACHE = cache_in(Path()).path.name
READERS = {
    "yaml": Reader("my.yaml", read_with_bases),
    "override": Reader("words.txt", _override, named=False),
    "checkpoint": Reader(
        "model.pth.tar-3", lambda p: load_checkpoint(str(p)), (ValueError, pickle.UnpicklingError)
    ),
    "pointer": Reader("checkpoint", _resume, (ValueError, pickle.UnpicklingError)),
    "weights": Reader("clip.pt", read_state_dict),
    "safetensors": Reader("clip.safetensors", read_state_dict),
    "hugging face": Reader("config.json", lambda p: config_beside(p, HUGGING_FACE)),
    "open_clip": Reader("open_clip_config.json", lambda p: config_beside(p, NATIVE)),
    "colours": Reader(
        "preprocessor_config.json", lambda p: normalisation_note(p, [0.5] * 3, [0.5] * 3)
    ),
    "list": Reader("list.txt", lambda p: read_list(p, 80), (DataFileError,)),
    "labels": Reader("labels.txt", read_labels, (DataFileError,)),
    "captions": Reader("captions.txt", read_captions, (DataFileError,)),
    "captions json": Reader("captions.json", read_captions, (DataFileError,)),
    "synonyms": Reader("synonyms.txt", lambda p: read_synonyms(p, CLASSES), (DataFileError,)),
    "counts": Reader("class_freq.pkl", read_class_freq, (DataFileError,)),
    "mask": Reader("mask.npz", lambda p: shared_known_labels(p, PATHS, PATHS, 3, 0.5, 1)),
    "scores": Reader("scores.npz", lambda p: read_npz(p, ("scores", "targets", "paths"))),
    "result": Reader("results.json", lambda p: load_results(p.parent)),
    "thresholds": Reader("thresholds.json", lambda p: read_fitted(p, ("log_odds",))),
    "templates": Reader("templates.txt", read_templates),
    "descriptions": Reader("words.json", lambda p: read_descriptions(p, CLASSES)),
    "picture": Reader("picture.jpg", read_picture, (PictureError,)),
    "archive": Reader(
        "archive", lambda p: unpack(p, p.parent / "unpacked", lambda _: True), (ArchiveError,)
    ),
    "annotation": Reader(
        f"{YEAR_FOLDER}/Annotations/1.xml",
        lambda p: entries_from_annotations(p.parents[3], CLASSES),
        (DataFileError,),
    ),
    "instances": Reader("instances.json", lambda p: read_instances(p, "train"), (DataFileError,)),
    "class split": Reader(
        "split.txt", lambda p: read_class_split(p.name, str(p.parent), CLASSES), (DataFileError,)
    ),
    "concept": Reader(f"{_LABELS}/Labels_cat_Train.txt", _read_concept, (DataFileError,)),
    "cache": Reader(_CACHE, _read_cache),
    "unfinished cache": Reader(
        _CACHE.replace(".safetensors", ".part"), _make_cache, (CannotStoreError,)
    ),
    "lock": Reader("run/.lock", lambda p: _hold(p.parent)),
    "owner": Reader("run/.owner.json", lambda p: _hold(p.parent)),
}
if Path(dassl.__file__).parent.parent.name != "compat":
    del READERS["pointer"]  # stock Dassl opens this file itself
