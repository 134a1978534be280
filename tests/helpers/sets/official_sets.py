"""Small folders in the official formats of VOC 2007, COCO 2014 and NUS-WIDE, without pictures."""

from __future__ import annotations

import json
from pathlib import Path

from yacs.config import CfgNode

from datasets import base, nus_wide

VOC = {  # image: objects (class, difficult), by list
    "trainval": {
        "000005": [("chair", 0), ("chair", 1), ("sofa", 1)],
        "000007": [("car", 0)],
        "000009": [("horse", 0), ("person", 0)],
    },
    "test": {"000001": [("dog", 0), ("person", 1)], "000002": [("train", 0)]},
}
COCO_CATEGORIES = {1: "person", 13: "stop sign", 90: "toothbrush"}
COCO = {  # split: image id: (category id, crowd)
    "train2014": {57870: [(90, 0), (1, 1)], 9: [], 30: [(13, 0), (13, 0)]},
    "val2014": {42: [(1, 0)], 73: []},
}
CONCEPTS = ["birds", "sky", "zebra"]
TAGS = ["nature", "sky", "blue", "birds"]
NUS = {  # list: rows and, by image, concepts and tags that it has
    "Train": [
        (r"actor\0001_21.jpg", ["sky", "zebra"], ["nature", "sky"]),
        (r"zoo\0002_7.jpg", [], ["birds", "blue"]),
        (r"zoo\0003_8.jpg", ["birds"], []),
    ],
    "Test": [(r"actor\0002_22.jpg", ["birds"], ["blue"]), (r"zoo\0009_1.jpg", [], [])],
}

ASL = """filepath,label,split_name
images/1.jpg,"['zebra', 'sky']",train
images/2.jpg,['sky'],val
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def voc_annotation(objects: list[tuple[str, int]]) -> str:
    inner = "".join(
        f"\t<object>\n\t\t<name>{name}</name>\n\t\t<difficult>{difficult}</difficult>\n"
        "\t\t<part>\n\t\t\t<name>head</name>\n\t\t</part>\n\t</object>\n"
        for name, difficult in objects
    )
    return f"<annotation>\n\t<folder>VOC2007</folder>\n{inner}</annotation>\n"


def write_voc2007(root: Path) -> Path:
    """Write VOC 2007's annotations and lists below `root`/voc; returns VOC2007's folder."""
    base = root / "voc/VOCdevkit/VOC2007"
    for name, images in VOC.items():
        write(base / f"ImageSets/Main/{name}.txt", "".join(f"{i}\n" for i in images))
        for image, objects in images.items():
            write(base / f"Annotations/{image}.xml", voc_annotation(objects))
    return base


def coco_instances(split: str) -> dict:
    images, categories = COCO[split], COCO_CATEGORIES
    return {
        "images": [{"id": i, "file_name": f"COCO_{split}_{i:012}.jpg"} for i in images],
        "annotations": [
            {"image_id": i, "category_id": category, "iscrowd": crowd, "bbox": [0.0, 0.5, 1, 1]}
            for i, objects in images.items()
            for category, crowd in objects
        ],
        "categories": [{"id": i, "name": categories[i]} for i in sorted(categories, reverse=True)],
    }


def write_coco2014(root: Path) -> Path:
    """Write COCO 2014's instances and captions below `root`/coco; returns that folder."""
    for split in COCO:
        content = coco_instances(split)
        write(root / f"coco/annotations/instances_{split}.json", json.dumps(content))
        captions = [{"image_id": i, "caption": f"image {i}"} for i in COCO[split]]
        content = {"images": content["images"], "annotations": captions}
        write(root / f"coco/annotations/captions_{split}.json", json.dumps(content))
    return root / "coco"


def write_nus_wide(root: Path) -> Path:
    """Write NUS-WIDE's lists, labels and tags below `root`/nus_wide; returns that folder."""
    folder = root / "nus_wide"
    write(folder / "ConceptsList/Concepts81.txt", "\r\n".join(CONCEPTS))
    write(folder / "NUS_WID_Tags/TagList1k.txt", "\r\n".join(TAGS) + "\r\n")
    for split, images in NUS.items():
        rows = "".join(f"{path}\r\n" for path, _, _ in images)
        write(folder / f"ImageList/{split}Imagelist.txt", rows)
        for concept in CONCEPTS:
            digits = "".join(f"{int(concept in own)}\n" for _, own, _ in images)
            name = f"Groundtruth/TrainTestLabels/Labels_{concept}_{split}.txt"
            write(folder / name, digits)
        tags = ["\t".join(str(int(tag in own)) for tag in TAGS) + "\t\n" for _, _, own in images]
        write(folder / f"NUS_WID_Tags/{split}_Tags1k.dat", "".join(tags))
    write(folder / "nus_wid_data.csv", ASL)
    return folder


def make_cfg(root: Path, **settings: object) -> CfgNode:
    """A config for a data set below `root` whose pictures nobody looks at."""
    from dassl.config import get_cfg_default

    cfg = get_cfg_default()
    base.extend_cfg(cfg)
    nus_wide.extend_cfg(cfg)
    cfg.VERBOSE = False
    cfg.DATASET.ROOT = str(root)
    cfg.DATASET.TRAIN_PICTURES = cfg.DATASET.TEST_PICTURES = False
    for key, value in settings.items():
        cfg.DATASET[key] = value
    return cfg
