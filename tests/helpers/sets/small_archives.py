"""VOC-LT, shrunk: its lists, archives and annotations, for a server on this machine."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

from PIL import Image

from scripts.data.check import Row
from scripts.data.fetch import Preparation
from scripts.data.sources import Archive, Facts, Published, voc_lt
from tests.helpers.local_server import serve

TRAIN, TEST = "VOCdevkit/VOC2012/JPEGImages", "VOCdevkit/VOC2007/JPEGImages"
NAMES = ["aeroplane", "cow", "diningtable"]
LISTS = {
    "voc_labels.txt": "aeroplane 0\r\ncow 1 \r\ndiningtable 2\r\n",
    "voc_lt_train.txt": f"{TRAIN}/2008_1.jpg 0 1\n{TRAIN}/2008_2.jpg 2 \n{TRAIN}/2008_3.jpg 0\n",
    "voc_lt_test.txt": f"{TEST}/000001.jpg 1\n{TEST}/000002.jpg 2 0\n",
    "voc_lt_captions.txt": "".join(f"{TRAIN}/2008_{i}.jpg a cow\n" for i in (1, 2, 3)),
}


def jpeg(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 0, 0)).save(file, "JPEG")
    return file.getvalue()


def annotation(*objects: tuple[str, int]) -> bytes:
    inner = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult>"
        "<part><name>head</name></part></object>"
        for name, difficult in objects
    )
    return f"<annotation><filename>x</filename>{inner}</annotation>".encode()


def tar(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def archives() -> dict[str, bytes]:
    train = {f"{TRAIN}/2008_{i}.jpg": jpeg(i) for i in range(1, 6)}
    test = {f"{TEST}/00000{i}.jpg": jpeg(10 * i) for i in range(1, 4)}
    notes = {
        "000001": annotation(("cow", 1), ("cow", 0)),
        "000002": annotation(("diningtable", 0), ("aeroplane", 1)),
    }
    test |= {f"VOCdevkit/VOC2007/Annotations/{i}.xml": note for i, note in notes.items()}
    test["VOCdevkit/VOC2007/ImageSets/Main/test.txt"] = b"000001\n000002\n"
    return {"train.tar": tar(train), "test.zip": zipped(test), "more.tar": tar({"more.txt": b"x"})}


def small_source(server, files: dict[str, bytes], singles: str = ""):
    """VOC-LT, shrunk; `files` are what the server has."""

    def published(name: str) -> Published:
        content = files[name]
        algorithm = hashlib.sha256 if name.endswith(".txt") else hashlib.md5
        return Published(server.url(name), len(content), algorithm(content).hexdigest())

    keeps = ("VOCdevkit/VOC2007/Annotations", "VOCdevkit/VOC2007/ImageSets/Main/test.txt")
    return replace(
        voc_lt(),
        files={name: published(name) for name in LISTS},
        archives=(
            Archive(published("train.tar"), TRAIN, singles=singles),
            Archive(published("test.zip"), TEST, keeps),
            Archive(published("more.tar")),
        ),
        facts=Facts(3, 2, 4, 3, {"tail": 3}),
    )


def write_voc(root: Path) -> None:
    """Write the shrunk lists, and the pictures that they name, below `root`/voc."""
    train = {f"{TRAIN}/2008_{i}.jpg": jpeg(i) for i in (1, 2, 3)}
    test = {f"{TEST}/00000{i}.jpg": jpeg(10 * i) for i in (1, 2)}
    texts = {name: text.encode() for name, text in LISTS.items()}
    for name, content in (texts | train | test).items():
        path = root / "voc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def served_files() -> dict[str, bytes]:
    """Name to content of all that a server has."""
    return {name: text.encode() for name, text in LISTS.items()} | archives()


def states(rows: list[Row]) -> dict[str, str]:
    return {row.item: row.state for row in rows}


def prepared(folder: Path, files: dict[str, bytes], **options):
    with serve(files) as server:
        source = small_source(server, files)
        assert Preparation(source, folder, **options).run() == []
    return source, server
