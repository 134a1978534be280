"""What all data sets share: lists, files and images, and the keys that say how to read them."""

from yacs.config import CfgNode

from datasets.base import long_tail_dataset
from datasets.texts import text_corpus


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys of all data sets."""
    for part in (long_tail_dataset, text_corpus):
        part.extend_cfg(cfg)
