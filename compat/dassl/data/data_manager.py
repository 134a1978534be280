"""From a config to data loaders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from tabulate import tabulate
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose, Normalize, Resize, ToTensor
from yacs.config import CfgNode

from dassl.utils import read_image

from .datasets import build_dataset
from .samplers import build_sampler
from .transforms import INTERPOLATION_MODES, build_transform


class DatasetWrapper(Dataset):
    """Items of a data set as dicts with the keys `img`, `label`, `domain`, `impath`, `index`.

    Args:
        cfg: config.
        data_source: items.
        transform: applied to the image. Of a list, the results are `img`, `img2`, `img3`, ...
            None: `img` is the PIL image.
        is_train: with K_TRANSFORMS > 1, make `img` a list of that many augmented images.

    With RETURN_IMG0, `img0` is the image resized and normalised only.
    """

    def __init__(
        self,
        cfg: CfgNode,
        data_source: list,
        transform: Callable | list[Callable] | None = None,
        is_train: bool = False,
    ) -> None:
        self.cfg = cfg
        self.data_source = data_source
        self.transform = transform
        self.is_train = is_train
        self.k_tfm = cfg.DATALOADER.K_TRANSFORMS if is_train else 1
        self.return_img0 = cfg.DATALOADER.RETURN_IMG0
        if self.k_tfm > 1 and transform is None:
            raise ValueError(
                f"Cannot augment the image {self.k_tfm} times because transform is None"
            )
        interpolation = INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]
        steps = [Resize(cfg.INPUT.SIZE, interpolation=interpolation), ToTensor()]
        if "normalize" in cfg.INPUT.TRANSFORMS:
            steps.append(Normalize(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD))
        self.to_tensor = Compose(steps)

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        item = self.data_source[idx]
        output = {
            "label": item.label,
            "domain": item.domain,
            "impath": item.impath,
            "index": idx,
        }
        image = read_image(item.impath)
        if self.transform is None:
            output["img"] = image
        else:
            several = isinstance(self.transform, (list, tuple))
            for number, transform in enumerate(self.transform if several else [self.transform], 1):
                key = "img" if number == 1 else f"img{number}"
                output[key] = self._transform_image(transform, image)
        if self.return_img0:
            output["img0"] = self.to_tensor(image)
        return output

    def _transform_image(self, transform: Callable, image: Image.Image) -> object:
        images = [transform(image) for _ in range(self.k_tfm)]
        return images[0] if len(images) == 1 else images


def build_data_loader(
    cfg: CfgNode,
    sampler_type: str = "SequentialSampler",
    data_source: list | None = None,
    batch_size: int = 64,
    n_domain: int = 0,
    n_ins: int = 2,
    tfm: Callable | list[Callable] | None = None,
    is_train: bool = True,
    dataset_wrapper: type[Dataset] | None = None,
) -> DataLoader:
    """A loader for one split.

    In training a last, smaller batch is dropped unless it is the only one.

    Args:
        cfg: config.
        sampler_type: name of a sampler.
        data_source: items.
        batch_size: items per batch.
        n_domain: domains per batch, for RandomDomainSampler.
        n_ins: items per class, for RandomClassSampler.
        tfm: transform or list of transforms.
        is_train: training or evaluation.
        dataset_wrapper: used instead of `DatasetWrapper`, with the same arguments.

    Raises:
        ValueError: there are no items.
    """
    if not data_source:
        raise ValueError(f"The {'training' if is_train else 'evaluation'} split is empty")
    sampler = build_sampler(
        sampler_type,
        cfg=cfg,
        data_source=data_source,
        batch_size=batch_size,
        n_domain=n_domain,
        n_ins=n_ins,
    )
    wrapper = dataset_wrapper or DatasetWrapper
    return DataLoader(
        wrapper(cfg, data_source, transform=tfm, is_train=is_train),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        drop_last=is_train and len(data_source) >= batch_size,
        pin_memory=torch.cuda.is_available() and cfg.USE_CUDA,
    )


class DataManager:
    """Data set and loaders of a config.

    Args:
        cfg: config.
        custom_tfm_train: used instead of the transform of the config.
        custom_tfm_test: the same for validation and test.
        dataset_wrapper: used instead of `DatasetWrapper` for all splits.

    Attributes:
        dataset: the data set.
        train_loader_x: labelled training batches.
        train_loader_u: unlabelled ones, or None.
        val_loader: validation batches, or None.
        test_loader: test batches.
    """

    def __init__(
        self,
        cfg: CfgNode,
        custom_tfm_train: Callable | list[Callable] | None = None,
        custom_tfm_test: Callable | list[Callable] | None = None,
        dataset_wrapper: type[Dataset] | None = None,
    ) -> None:
        self.dataset = build_dataset(cfg)
        tfm_train = _transform(cfg, custom_tfm_train, is_train=True)
        tfm_test = _transform(cfg, custom_tfm_test, is_train=False)

        def loader(items: list, settings: CfgNode, is_train: bool) -> DataLoader:
            return build_data_loader(
                cfg,
                sampler_type=settings.SAMPLER,
                data_source=items,
                batch_size=settings.BATCH_SIZE,
                n_domain=settings.get("N_DOMAIN", 0),
                n_ins=settings.get("N_INS", 2),
                tfm=tfm_train if is_train else tfm_test,
                is_train=is_train,
                dataset_wrapper=dataset_wrapper,
            )

        loaders = cfg.DATALOADER
        data = self.dataset
        unlabelled = loaders.TRAIN_X if loaders.TRAIN_U.SAME_AS_X else loaders.TRAIN_U
        self.train_loader_x = loader(data.train_x, loaders.TRAIN_X, True)
        self.train_loader_u = loader(data.train_u, unlabelled, True) if data.train_u else None
        self.val_loader = loader(data.val, loaders.TEST, False) if data.val else None
        self.test_loader = loader(data.test, loaders.TEST, False)

        self._num_source_domains = len(cfg.DATASET.SOURCE_DOMAINS)
        if cfg.VERBOSE:
            self.show_dataset_summary(cfg)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.dataset.num_classes

    @property
    def num_source_domains(self) -> int:
        """Number of source domains in the config."""
        return self._num_source_domains

    @property
    def lab2cname(self) -> dict[int, str]:
        """Label to class name."""
        return self.dataset.lab2cname

    def show_dataset_summary(self, cfg: CfgNode) -> None:
        """Print a table of names and sizes."""
        rows = [["Dataset", cfg.DATASET.NAME]]
        for name, domains in (
            ("Source", cfg.DATASET.SOURCE_DOMAINS),
            ("Target", cfg.DATASET.TARGET_DOMAINS),
        ):
            if domains:
                rows.append([name, domains])
        rows.append(["# classes", f"{self.num_classes:,}"])
        for split in ("train_x", "train_u", "val", "test"):
            items = getattr(self.dataset, split)
            if items:
                rows.append([f"# {split}", f"{len(items):,}"])
        print(tabulate(rows))


def _transform(
    cfg: CfgNode, custom: Callable | list[Callable] | None, is_train: bool
) -> Callable | list[Callable] | None:
    if custom is None:
        return build_transform(cfg, is_train=is_train)
    print(f"* Using custom transform for {'training' if is_train else 'testing'}")
    return custom
