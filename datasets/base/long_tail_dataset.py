"""Long-tailed multi-label image sets read from lists.

Stock Dassl accepts them unchanged: a label is a float32 vector [C], and the classes come from the
label file rather than from the labels seen in training.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from dassl.data.datasets import DatasetBase, Datum
from yacs.config import CfgNode

from common.config.config_rules import Choice, Number, check_values, declare_rules
from common.groups import GROUPS, group_of
from datasets.base.checks import check_class_split, check_label_mask, overlaps
from datasets.base.class_split import read_class_split
from datasets.base.layout import Layout
from datasets.base.listed_image import listed_images
from datasets.base.partial_labels import (
    HCP,
    hcp_known_labels,
    known_labels,
    shared_known_labels,
)
from datasets.base.splits import DIFFICULT_RULES, Splits
from datasets.files.captions import captions_of
from datasets.files.class_freq import check_class_freq
from datasets.files.image_list import ImageList
from datasets.files.list_files import read_labels
from datasets.texts.text_corpus import TextCorpus, build_corpus


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys that this module reads."""
    cfg.DATASET.MISSING = "error"  # absent pictures: error | skip (train and test on the others)
    # Whether anybody looks at the training pictures; else they and their captions may be absent.
    # train.py sets it, for evaluations, zero-shot CLIP and TEXT_AS_IMAGE.
    cfg.DATASET.TRAIN_PICTURES = True
    # Likewise of the test pictures. train.py sets it, for runs that end on validation images.
    cfg.DATASET.TEST_PICTURES = True
    cfg.DATASET.CLASSNAMES = "clean"  # clean ("dining table") | raw, as in the label file
    cfg.DATASET.CAPTIONS = ""  # captions, text or json, under the data set's folder; "": its own
    cfg.DATASET.CAPTIONS_PREFIX = ""  # folder put before the paths in them, e.g. "train2017"
    cfg.DATASET.TEXT_AS_IMAGE = False  # train on sentences in the place of the training images
    # Share of the training images held out for validation, in [0, 1), where there is no val list.
    # Not Dassl's VAL_PERCENT: that is 0.1 by default, and nothing is to be held out unasked.
    cfg.DATASET.VAL_FRACTION = 0.0
    cfg.DATASET.LABEL_PROPORTION = 1.0  # probability that a training label is known, in (0, 1]
    # npz of the known ones, made if absent | hcp (the draw of HCP-MLR-PL) | "": drawn from the seed
    cfg.DATASET.LABEL_MASK = ""
    cfg.DATASET.DRAW = "fixed"  # ShapesLT, ShapesLT80: fixed | seed (other pictures for each seed)
    # A class whose objects in an image are all difficult (VOC07): negative | ignore | positive.
    cfg.DATASET.DIFFICULT = "negative"
    cfg.DATASET.UNLABELED = "keep"  # images in which no class is present: keep | drop
    # Some classes alone, of which training may see some alone: coco_48_17 | coco_novel_16 |
    # nus_wide_925_81 | a file, rows "name seen" or "name unseen" | "": all.
    cfg.DATASET.CLASS_SPLIT = ""


declare_rules(
    "DATASET",
    {
        "MISSING": Choice(("error", "skip")),
        "CLASSNAMES": Choice(("clean", "raw")),
        "VAL_FRACTION": Number(least=0, below=1),
        "LABEL_PROPORTION": Number(above=0, most=1),
        "DRAW": Choice(("fixed", "seed")),
        "DIFFICULT": Choice(DIFFICULT_RULES),
        "UNLABELED": Choice(("keep", "drop")),
    },
)


class LongTailDataset(DatasetBase):
    """A multi-label data set defined by a label file and image lists.

    Classes without a training image stay classes. `Datum.label` is a float32 vector [C]: 1 present,
    0 absent, and -1 unknown, as labels of training images and difficult objects may be. What is
    trained on is settled in this order: the pictures that are there, less the validation hold-out,
    of these DATASET.NUM_SHOTS per class, of their labels those that are known.

    Attributes:
        class_counts: training images, as used, in which each class is known to be, int64 [C].
        groups: "head", "medium" or "tail" of each class, by `class_counts`.
        captions: captions of each image in train_x, empty where there are none; None without a
            caption file.
        texts: sentences to train on in place of the images; None unless DATASET.TEXT_AS_IMAGE.
        missing: pictures that are listed but absent, by split ("train", "val", "test").
        clean_names: readable wording of class names, set by subclasses: {name in file: name}.
        drawn: whether its pictures are drawn here, so that DATASET.DRAW means something.
        seen: of each class, whether training sees its labels; None: it sees them all.
        synonyms: table of synonyms for its captions, set by subclasses; "": that of its own name.

    Args:
        cfg: configuration; DATASET.ROOT and the keys of `extend_cfg` are read.
        layout: where the files lie.

    Raises:
        ValueError: A key has an unknown value, or a file breaks its format (`DataFileError`).
        FileNotFoundError: A file is absent, or pictures are while DATASET.MISSING is "error".
    """

    clean_names: dict[str, str] = {}
    synonyms = ""
    drawn = False
    seen: list[bool] | None = None

    def __init__(self, cfg: CfgNode, layout: Layout) -> None:
        settings = cfg.DATASET
        check_values(settings, "DATASET")
        if settings.DRAW != "fixed" and not self.drawn:
            raise ValueError(
                f"DATASET.DRAW {settings.DRAW} is for ShapesLT and ShapesLT80, whose pictures are "
                f"drawn; {type(self).__name__} has fixed ones. Leave it out."
            )
        check_label_mask(settings)
        check_class_split(settings)
        self.layout, self.pictures_needed = layout, settings.TRAIN_PICTURES
        self.dataset_dir = os.path.join(
            os.path.abspath(os.path.expanduser(settings.ROOT)), layout.folder
        )
        layout.check(self.dataset_dir, type(self).__name__)
        raw_names = read_labels(self._path(layout.labels))
        splits = self._splits(cfg, raw_names)
        listed, used = splits.listed["train"], splits.used
        self.missing, self._notes = splits.missing, splits.notes

        self._names = [self._name(raw_names[i], settings.CLASSNAMES) for i in self._kept]
        targets = splits.targets()
        if settings.LABEL_PROPORTION < 1:
            known = self._known_labels(cfg, listed.paths, used["train"].paths)  # [N, C]
            targets["train"] = targets["train"].with_unknown(~known)
        self.class_counts = targets["train"].counts()  # [C]
        self.groups = [group_of(count) for count in self.class_counts]
        self.captions = None
        if settings.TRAIN_PICTURES or settings.TEXT_AS_IMAGE:
            self.captions = self._join_captions(
                settings.CAPTIONS, settings.CAPTIONS_PREFIX, listed.paths, used["train"].paths
            )
        self._notes += overlaps(used)
        data = {
            split: listed_images(rows.paths, splits.picture, targets[split])
            for split, rows in used.items()
        }
        self._labels_of_images = {split: rows.sizes() for split, rows in targets.items()}
        super().__init__(train_x=data["train"], val=data.get("val"), test=data["test"])
        self.texts = self.labelled_texts(settings) if settings.TEXT_AS_IMAGE else None
        if cfg.VERBOSE:
            print(self.describe())

    def get_num_classes(self, data_source: list[Datum]) -> int:
        """Return C, also where the last classes have no training image."""
        return len(self._names)

    def get_lab2cname(self, data_source: list[Datum]) -> tuple[dict[int, str], list[str]]:
        """Return {id: name} and the names in the order of their ids."""
        return dict(enumerate(self._names)), list(self._names)

    def describe(self) -> str:
        """Return a summary of a few lines: images, labels, groups, captions, oddities."""
        sizes = ", ".join(f"{group} {self.groups.count(group)}" for group in GROUPS)
        lines = [
            f"{type(self).__name__} in {self.dataset_dir}",
            f"  {self.num_classes} classes ({sizes}), "
            f"{self.class_counts.min()} to {self.class_counts.max()} training images each",
        ]
        for split, data in (("train", self.train_x), ("val", self.val), ("test", self.test)):
            if data:
                per_image = self._labels_of_images[split]
                line = (
                    f"  {split}: {len(data)} images, {per_image.mean():.2f} labels per image, "
                    f"{int((per_image == 0).sum())} without labels"
                )
                absent = self.missing.get(split, 0)
                lines.append(line + (f"; {absent} absent pictures skipped" if absent else ""))
        lines += [f"  {note}" for note in self._notes]
        if self.captions is None and self.pictures_needed:
            lines.append("  captions: none, there is no caption file")
        elif self.captions is not None:
            images = [len(texts) for texts in self.captions if texts]
            line = f"  captions: {sum(images)} for {len(images)} of {len(self.captions)} training "
            lines.append(f"{line}images, none for {len(self.captions) - len(images)}")
        if self.texts is not None:
            lines.append("  texts as images: " + "\n    ".join(self.texts.notes))
        if self.seen is not None:
            lines.append(f"  training sees the labels of {sum(self.seen)} classes alone")
        if without := int((self.class_counts[self.seen or slice(None)] == 0).sum()):
            lines.append(f"  warning: {without} classes have no training image")
        return "\n".join(lines)

    def _name(self, raw: str, wording: str) -> str:
        """A class name in the wording that DATASET.CLASSNAMES asks for."""
        return self.clean_names.get(raw, raw).replace("_", " ") if wording == "clean" else raw

    def _path(self, name: str) -> str:
        return os.path.join(self.dataset_dir, name)

    def _splits(self, cfg: CfgNode, raw_names: list[str]) -> Splits:
        """The images that are used: the pictures that are there, chosen as the keys say."""
        settings, seed = cfg.DATASET, max(cfg.SEED, 0)
        splits = Splits(self.layout, self.dataset_dir, len(raw_names))
        self._check_class_freq(raw_names, splits.listed["train"])
        splits.count_difficult(type(self).__name__, settings.DIFFICULT)
        skip = settings.MISSING == "skip"
        needed = {"train": settings.TRAIN_PICTURES, "test": settings.TEST_PICTURES}
        unread = [split for split, pictures in needed.items() if not pictures]
        splits.drop_absent(type(self).__name__, skip, unread)
        if settings.UNLABELED == "drop":
            splits.drop_unlabelled()
        self._kept = tuple(range(len(raw_names)))
        if settings.CLASS_SPLIT:
            classes = read_class_split(settings.CLASS_SPLIT, self.dataset_dir, raw_names)
            splits.keep_classes(classes)
            self._kept = classes.kept
            self.seen = None if all(classes.seen) else list(classes.seen)
        if settings.VAL_FRACTION > 0:
            splits.hold_out(settings.VAL_FRACTION, seed)
        if settings.NUM_SHOTS > 0:
            splits.keep_shots(settings.NUM_SHOTS, seed)
        return splits

    def _check_class_freq(self, names: list[str], images: ImageList) -> None:
        """Compare the published counts with those of the whole training list."""
        if not self.layout.class_freq or not os.path.isfile(self._path(self.layout.class_freq)):
            return
        counted = np.bincount(images.labels.ids, minlength=len(names))  # [C]
        path = self._path(self.layout.class_freq)
        check_class_freq(path, names, counted, self.layout.train_list)

    def _known_labels(
        self, cfg: CfgNode, listed: Sequence[str], paths: Sequence[str]
    ) -> np.ndarray:
        """Return which training labels are known, bool [N, C]."""
        settings, seed, num_classes = cfg.DATASET, max(cfg.SEED, 0), len(self._names)
        amounts = num_classes, settings.LABEL_PROPORTION, seed
        if settings.LABEL_MASK == HCP:
            known = hcp_known_labels(listed, paths, *amounts[:2])
        elif settings.LABEL_MASK:
            # A mask file covers the whole list, so that it serves every subset of it.
            known = shared_known_labels(settings.LABEL_MASK, listed, paths, *amounts)
        else:
            known = known_labels(paths, *amounts)
        rule = f"LABEL_PROPORTION {settings.LABEL_PROPORTION:g}"
        rule += f", {settings.LABEL_MASK or f'seed {seed}'}"
        self._notes.append(f"{known.mean():.1%} of the training images' labels are known ({rule})")
        return known

    def _join_captions(
        self, chosen: str, prefix: str, listed: Sequence[str], used: Sequence[str]
    ) -> list[list[str]] | None:
        """Return the captions of each used training image, or None without a caption file."""
        name = chosen or self.layout.captions
        if not name or not (chosen or os.path.isfile(self._path(name))):
            return None
        path = self._path(os.path.expanduser(name))
        if not os.path.isfile(path):
            raise FileNotFoundError(f"DATASET.CAPTIONS: there is no file {path}")
        prefix = prefix or ("" if chosen else self.layout.captions_prefix)
        captions = captions_of(listed, path, prefix)
        return [captions[image] for image in used]

    def labelled_texts(self, settings: CfgNode) -> TextCorpus:
        """Return the sentences that stand for images, as `build_corpus` gathers them.

        Args:
            settings: the DATASET node of a config.

        Raises:
            ValueError: there are classes that training must not see.
        """
        if self.seen is not None:
            raise ValueError(
                "Training on texts would tell of the unseen classes, which sentences name. Choose "
                "a DATASET.CLASS_SPLIT without any, or train on images alone."
            )
        targets = np.array([item.label for item in self.train_x])  # [N, C]
        held_out = [item.impath for split in (self.val, self.test) for item in split or ()]
        dataset, folder = self.synonyms or type(self).__name__, self.dataset_dir
        return build_corpus(
            settings, folder, dataset, self._names, self.captions, targets, held_out
        )
