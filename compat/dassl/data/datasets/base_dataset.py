"""One image with its label, and the base class of data sets."""

from __future__ import annotations

import os
import random
import shutil
import tarfile
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch

from dassl.utils import check_isfile, download_url, mkdir_if_missing

Label = int | np.ndarray


class Datum:
    """One image of a data set; read-only.

    Args:
        impath: path of an existing image file.
        label: class index, or for multi-label sets a float32 array [C].
        domain: domain index.
        classname: name of the class.

    Raises:
        TypeError: `impath` is no str.
        FileNotFoundError: there is no such file.
    """

    def __init__(
        self, impath: str = "", label: Label = 0, domain: int = 0, classname: str = ""
    ) -> None:
        if not isinstance(impath, str):
            raise TypeError(f"Datum.impath must be a str, got {type(impath).__name__}")
        if not check_isfile(impath):
            raise FileNotFoundError(f'No image at "{impath}"; check DATASET.ROOT')
        self._impath = impath
        self._label = label
        self._domain = domain
        self._classname = classname

    @property
    def impath(self) -> str:
        """Path of the image file."""
        return self._impath

    @property
    def label(self) -> Label:
        """Class index or multi-label target."""
        return self._label

    @property
    def domain(self) -> int:
        """Domain index."""
        return self._domain

    @property
    def classname(self) -> str:
        """Name of the class."""
        return self._classname


class DatasetBase:
    """Splits of a data set and its classes.

    A subclass reads its files, then calls `super().__init__`. The classes are those of `train_x`;
    a multi-label set overrides `get_num_classes` and `get_lab2cname`.

    Args:
        train_x: labelled training items.
        train_u: unlabelled training items.
        val: validation items.
        test: test items.
    """

    dataset_dir = ""  # below DATASET.ROOT
    domains: Sequence[str] = ()

    def __init__(
        self,
        train_x: list | None = None,
        train_u: list | None = None,
        val: list | None = None,
        test: list | None = None,
    ) -> None:
        self._train_x = train_x
        self._train_u = train_u
        self._val = val
        self._test = test
        self._num_classes = self.get_num_classes(train_x)
        self._lab2cname, self._classnames = self.get_lab2cname(train_x)

    @property
    def train_x(self) -> list | None:
        """Labelled training items."""
        return self._train_x

    @property
    def train_u(self) -> list | None:
        """Unlabelled training items."""
        return self._train_u

    @property
    def val(self) -> list | None:
        """Validation items."""
        return self._val

    @property
    def test(self) -> list | None:
        """Test items."""
        return self._test

    @property
    def lab2cname(self) -> dict[int, str]:
        """Label to class name."""
        return self._lab2cname

    @property
    def classnames(self) -> list[str]:
        """Class names in the order of their labels."""
        return self._classnames

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self._num_classes

    @staticmethod
    def get_num_classes(data_source: list) -> int:
        """The largest label plus one."""
        return max(_class_index(item) for item in _not_empty(data_source)) + 1

    @staticmethod
    def get_lab2cname(data_source: list) -> tuple[dict[int, str], list[str]]:
        """Label to class name, and the names in the order of their labels."""
        lab2cname = {_class_index(item): item.classname for item in _not_empty(data_source)}
        return lab2cname, [lab2cname[label] for label in sorted(lab2cname)]

    def check_input_domains(
        self, source_domains: Sequence[str], target_domains: Sequence[str]
    ) -> None:
        """Check domain names of a config.

        Raises:
            ValueError: A list is empty or has a name that is not in `self.domains`.
        """
        for what, names in (("source", source_domains), ("target", target_domains)):
            if not names:
                raise ValueError(f"{what}_domains (list) is empty")
            self.is_input_domain_valid(names)

    def is_input_domain_valid(self, input_domains: Sequence[str]) -> None:
        """Check that all names are in `self.domains`; otherwise a ValueError."""
        for domain in input_domains:
            if domain not in self.domains:
                raise ValueError(
                    f"Input domain must belong to {self.domains}, but got [{domain}]"
                )

    def download_data(self, url: str, dst: str, from_gdrive: bool = True) -> None:
        """Download an archive to `dst` and unpack it beside itself.

        Args:
            url: address, of Google Drive or any other.
            dst: path ending in .zip, .tar or .tar.gz.
            from_gdrive: use the package gdown, which must be installed.
        """
        folder = os.path.dirname(dst)
        mkdir_if_missing(folder)
        if from_gdrive:
            import gdown

            gdown.download(url, dst, quiet=False)
        else:
            download_url(url, dst)
        print("Extracting file ...")
        if dst.endswith(".zip"):
            shutil.unpack_archive(dst, folder)
        else:
            with tarfile.open(dst) as archive:
                archive.extractall(folder, filter="data")  # nothing outside the folder
        print(f"File extracted to {folder}")

    def generate_fewshot_dataset(
        self, *data_sources: list, num_shots: int = -1, repeat: bool = False
    ) -> list | tuple:
        """Keep at most `num_shots` random items of each class.

        Args:
            data_sources: lists of items, each sampled on its own.
            num_shots: items per class; below 1 returns the input.
            repeat: draw with repetition from classes that have fewer.

        Returns:
            One list for one list given, otherwise one per list given.
        """
        if num_shots < 1:
            return data_sources[0] if len(data_sources) == 1 else data_sources
        print(f"Creating a {num_shots}-shot dataset")
        sampled = []
        for data_source in data_sources:
            subset = []
            for items in self.split_dataset_by_label(data_source).values():
                if len(items) >= num_shots:
                    items = random.sample(items, num_shots)
                elif repeat:
                    items = random.choices(items, k=num_shots)
                subset.extend(items)
            sampled.append(subset)
        return sampled[0] if len(sampled) == 1 else sampled

    def split_dataset_by_label(self, data_source: list) -> dict[int, list]:
        """Items by class."""
        groups = defaultdict(list)
        for item in data_source:
            groups[_class_index(item)].append(item)
        return groups

    def split_dataset_by_domain(self, data_source: list) -> dict[int, list]:
        """Items by domain."""
        groups = defaultdict(list)
        for item in data_source:
            groups[item.domain].append(item)
        return groups


def _not_empty(data_source: list | None) -> list:
    if not data_source:
        raise ValueError(
            "train_x is empty, so its classes are unknown. Give training items, or override "
            "get_num_classes and get_lab2cname."
        )
    return data_source


def _class_index(item: Datum) -> int:
    """The label, which must identify a class: arrays would be compared by identity or not at all."""
    if isinstance(item.label, (np.ndarray, torch.Tensor, list)):
        raise TypeError(
            f"Expected a class index as label, got {type(item.label).__name__}. A multi-label "
            "data set overrides get_num_classes and get_lab2cname, and samples few shots itself."
        )
    return item.label
