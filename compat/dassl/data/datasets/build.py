"""Registry of data sets."""

from __future__ import annotations

from yacs.config import CfgNode

from dassl.utils import Registry

from .base_dataset import DatasetBase

DATASET_REGISTRY = Registry("DATASET")


def build_dataset(cfg: CfgNode) -> DatasetBase:
    """The data set called `cfg.DATASET.NAME`, built as `Class(cfg)`."""
    return DATASET_REGISTRY.build(cfg.DATASET.NAME, cfg.VERBOSE, cfg)
