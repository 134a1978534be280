"""What VOC 2007, COCO 2014 and NUS-WIDE consist of, and all data sets that can be prepared.

Lists are made of the official archives. Pictures of NUS-WIDE are in none of them.
"""

from __future__ import annotations

from collections.abc import Callable

from datasets.coco14 import LAYOUT as COCO14
from datasets.nus_wide import ASL_LAYOUT
from datasets.nus_wide import LAYOUT as NUS_WIDE
from datasets.official.coco import INSTANCES, read_coco2014
from datasets.official.nus_wide import read_nus_wide
from datasets.official.nus_wide_asl import read_nus_wide_asl
from datasets.official.voc import TEST_LABELS, YEAR_FOLDER, read_voc2007
from datasets.voc07 import LAYOUT as VOC07
from scripts.data.sources import (
    COCO_SERVER,
    Archive,
    Facts,
    Published,
    Source,
    coco_lt,
    voc_archive,
    voc_lt,
)

NUS_SERVER = "https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide"


def voc07() -> Source:
    """VOC 2007: trainval for training, test for test."""

    def archive(year: str, name: str, split: str) -> Archive:
        keeps = (f"{YEAR_FOLDER}/Annotations", f"{YEAR_FOLDER}/ImageSets/Main/{name}.txt")
        return Archive(voc_archive(year), f"{YEAR_FOLDER}/JPEGImages", keeps, split=split)

    return Source(
        title="VOC 2007",
        layout=VOC07,
        files={},
        archives=(archive("2007", "trainval", "train"), archive("2007-test", "test", "test")),
        facts=Facts(
            5011, 4952, 7306, 7013, {"head": 19, "medium": 1}, digest=TEST_LABELS, classes=20
        ),
        read=read_voc2007,
    )


def coco14() -> Source:
    """COCO 2014: train2014 for training, val2014 for test."""

    def archive(name: str, size: int, checksum: str) -> Published:
        return Published(f"{COCO_SERVER}/{name}", size, checksum)

    train = archive("zips/train2014.zip", 13510573713, "0da8c0bd3d6becc4dcb32757491aca88")
    test = archive("zips/val2014.zip", 6645013297, "a3d79f5ed8d289b7a7554ce06a5782b3")
    annotations = archive(
        "annotations/annotations_trainval2014.zip", 252872794, "0a379cfc70b0e71301e0f377548639bd"
    )
    instances = tuple(name for _, name in INSTANCES.values())
    return Source(
        title="COCO 2014",
        layout=COCO14,
        files={},
        archives=(
            Archive(annotations, keeps=(*instances, COCO14.captions)),
            Archive(train, "train2014", split="train"),
            Archive(test, "val2014", split="test"),
        ),
        facts=Facts(82783, 40504, 241035, labelled={"train": 82081}, classes=80),
        read=read_coco2014,
    )


def nus_wide() -> Source:
    """NUS-WIDE: the official split. Neither sizes nor checksums of its archives are published."""

    def archive(name: str, *keeps: str) -> Archive:
        return Archive(Published(f"{NUS_SERVER}/{name}.zip"), keeps=keeps)

    return Source(
        title="NUS-WIDE",
        layout=NUS_WIDE,
        files={},
        archives=(
            archive("ImageList", "ImageList"),
            archive("ConceptsList", "ConceptsList"),
            archive("Groundtruth", "Groundtruth"),
            archive("NUS_WID_Tags", "NUS_WID_Tags"),
        ),
        facts=Facts(161789, 107859, labelled={"test": 83898}, classes=81),
        read=read_nus_wide,
    )


def nus_wide_asl() -> Source:
    """ASL's part of NUS-WIDE, whose table nus_wid_data.csv has to be placed by hand."""
    concepts = Archive(Published(f"{NUS_SERVER}/ConceptsList.zip"), keeps=("ConceptsList",))
    return Source(
        title="NUS-WIDE of ASL",
        layout=ASL_LAYOUT,
        files={},
        archives=(concepts,),
        facts=Facts(119103, 50720, None, 123567, labelled={"train": 119103, "test": 50720}, classes=81),
        read=read_nus_wide_asl,
    )


SOURCES: dict[str, Callable[[], Source]] = {
    "voc-lt": voc_lt,
    "coco-lt": coco_lt,
    "voc07": voc07,
    "coco14": coco14,
    "nus-wide": nus_wide,
    "nus-wide-asl": nus_wide_asl,
}
