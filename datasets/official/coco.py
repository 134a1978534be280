"""COCO as its archives hold it: instances in JSON, one file for each split.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014. A class is present in an image
that has an annotation of it, a crowd's among them. Ids follow the official category ids.
"""

from __future__ import annotations

import re
from pathlib import Path

from common.readers.json_files import read_json
from datasets.files.json_records import records
from datasets.files.list_files import ListEntry
from datasets.files.text_rows import DataFileError, Problem
from datasets.official.made_lists import OfficialSet

INSTANCES = {
    "train": ("train2014", "annotations/instances_train2014.json"),
    "test": ("val2014", "annotations/instances_val2014.json"),
}
_MAX_BYTES = 1 << 30  # instances_train2014.json is the larger one, with some 0.3 GB
_NAME = re.compile(r"[\w.-]+")
_NAME_2014 = re.compile(r"COCO_(?:train|val)2014_(\d{12}\.jpg)")


def read_coco2014(folder: Path) -> OfficialSet:
    """Read the images of train2014 and val2014 with their classes, in the order of the files.

    Args:
        folder: holds annotations/instances_{train,val}2014.json.

    Raises:
        FileNotFoundError: one of them is absent.
        DataFileError: one is no such JSON, or they differ in their classes.
        OSError: one cannot be read.
    """
    names, splits = {}, {}
    for split, (pictures, name) in INSTANCES.items():
        names[split], splits[split] = read_instances(folder / name, pictures)
    if names["train"] != names["test"]:
        rule = f"its categories are not those of {INSTANCES['train'][1]}"
        raise DataFileError(folder / INSTANCES["test"][1], [Problem(0, "", rule)])
    return OfficialSet(names["train"], splits)


def names_of_2017(path: str) -> tuple[str, ...]:
    """Where COCO 2017, which re-split and renamed the pictures of 2014, may hold a picture.

    Args:
        path: as in the lists of 2014.
    """
    match = _NAME_2014.fullmatch(path.rsplit("/", 1)[-1])
    return tuple(f"{folder}2017/{match[1]}" for folder in ("train", "val")) if match else ()


def _without_outlines(item: dict[str, object]) -> dict[str, object]:
    """An object of the file without its polygons, which take half of the memory."""
    item.pop("segmentation", None)
    return item


def read_instances(path: Path, pictures: str) -> tuple[list[str], list[ListEntry]]:
    """Read a file of instances.

    Args:
        path: JSON with `categories`, `images` and `annotations`.
        pictures: folder of the pictures, put before their names.

    Returns:
        Class names in the order of the category ids, and every image in the order of the file.

    Raises:
        DataFileError: it is no such JSON, an id is repeated or unknown, or it holds no image.
        OSError: it cannot be read.
    """
    problems: list[Problem] = []
    try:
        content = read_json(path, _MAX_BYTES, _without_outlines)
    except ValueError as error:
        raise DataFileError(path, [Problem(0, "", str(error))]) from error
    categories: dict[int, str] = {}
    for place, item in records(content, "categories", {"id": int, "name": str}, problems):
        if item["id"] in categories or item["name"] in categories.values():
            problems.append(Problem(0, place, "its id or its name is repeated"))
        categories[item["id"]] = item["name"]
    labels: dict[int, set[int]] = {}
    files: dict[int, str] = {}
    for place, item in records(content, "images", {"id": int, "file_name": str}, problems):
        if item["id"] in files:
            problems.append(Problem(0, place, f"id {item['id']} is repeated"))
        if not _NAME.fullmatch(item["file_name"]):
            problems.append(Problem(0, place, f"{item['file_name']!r} is no name of a file"))
        files[item["id"]], labels[item["id"]] = item["file_name"], set()
    ids = {category: index for index, category in enumerate(sorted(categories))}
    keys = {"image_id": int, "category_id": int}
    for place, item in records(content, "annotations", keys, problems):
        if item["image_id"] not in labels:
            problems.append(Problem(0, place, f"no image has the id {item['image_id']}"))
        elif item["category_id"] not in ids:
            problems.append(Problem(0, place, f"no category has the id {item['category_id']}"))
        else:
            labels[item["image_id"]].add(ids[item["category_id"]])
    if not files and not problems:
        problems.append(Problem(0, "", "it holds no image"))
    if problems:
        raise DataFileError(path, problems)
    entries = [
        ListEntry(f"{pictures}/{name}", tuple(sorted(labels[image])), line)
        for line, (image, name) in enumerate(files.items(), start=1)
    ]
    return [categories[category] for category in sorted(categories)], entries
