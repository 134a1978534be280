"""What VOC-LT and COCO-LT consist of: where each file is published, and its checksum.

Lists, labels and captions: the repository of Xia et al., "LMPT: Prompt Tuning with Class-Specific
Embedding Loss for Long-tailed Multi-Label Visual Recognition". Class counts: that of Wu et al.,
"Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets", ECCV 2020.
Both are pinned to a commit. Pictures: the official archives of PASCAL VOC and COCO.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from datasets.base.layout import Layout
from datasets.official.made_lists import Reader

LMPT_FILES = (
    "https://raw.githubusercontent.com/richard-peng-xia/LMPT/"
    "aab39caca28362bfb9d9340f9c8a5cd75614e130/data"
)
DB_LOSS_FILES = (
    "https://raw.githubusercontent.com/wutong16/DistributionBalancedLoss/"
    "14460d0acda6a3e77a8a6a5999b9746243cb1535/appendix"
)
COCO_SERVER = "http://images.cocodataset.org"
VOC_SIZES = {"2012": 1999639040, "2007-test": 451020800, "2007": 460032000}  # bytes


@dataclass(frozen=True)
class Published:
    """A published file: its URL, and its size in bytes and checksum (SHA256 or MD5) if published."""

    url: str
    size: int = 0
    checksum: str = ""

    @property
    def name(self) -> str:
        """File name, the last part of the URL."""
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Archive:
    """A tar or zip whose members lie at paths relative to the data set's folder.

    Attributes:
        file: where it is published.
        pictures: folder of its pictures; those that the lists name are unpacked. "": none.
        split: the list whose pictures these are; "": both.
        keeps: other members to unpack, files or folders.
        singles: URL of the folder with the same pictures one by one; "": there is none.
    """

    file: Published
    pictures: str = ""
    keeps: tuple[str, ...] = ()
    singles: str = ""
    split: str = ""


@dataclass(frozen=True)
class Facts:
    """Counts that the published files have; None where they are not known.

    Attributes:
        train: images of the training list, as `test` of the test list.
        test: see `train`.
        train_labels: their labels, as `test_labels`.
        test_labels: see `train_labels`.
        groups: classes by group.
        labelled: by split, the images that have a label.
        digest: `labels_digest` of the test list.
        classes: C.
    """

    train: int
    test: int
    train_labels: int | None = None
    test_labels: int | None = None
    groups: dict[str, int] | None = None
    labelled: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""
    classes: int = 0


@dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        title: its name in the literature.
        layout: its files.
        files: published small ones, by their name in the layout.
        archives: the others.
        facts: what they hold.
        read: reads what archives hold, where lists are made of it.
    """

    title: str
    layout: Layout
    files: dict[str, Published]
    archives: tuple[Archive, ...]
    facts: Facts
    read: Reader | None = None


def voc_lt() -> Source:
    """VOC-LT: pictures of VOC 2012 for training and VOC 2007 for test."""
    test_keeps = ("VOCdevkit/VOC2007/Annotations", "VOCdevkit/VOC2007/ImageSets/Main/test.txt")
    return Source(
        title="VOC-LT",
        layout=_layout("voc"),
        files=_files(
            "voc",
            "VOCdevkit/longtail2012/class_freq.pkl",
            {
                "voc_lt_train.txt": (
                    57433,
                    "2111a5e58ae8b67a112a2b2c8aa98fe8fa926ac3e1d73e2e4e0e4844c90cc047",
                ),
                "voc_lt_test.txt": (
                    217854,
                    "43b2929a86e9fe685cdf3b6b72fb90b6838ff9f9f427807e8b9502111e73750a",
                ),
                "voc_labels.txt": (
                    204,
                    "59e82ce7a1fa096b8a80c22cc72e6c86e54c598b2e1cfe08a211f1c82a0dcb2c",
                ),
                "voc_lt_captions.txt": (
                    104823,
                    "a986c2d493d4258aa470fe0b48b66b12c1ec338e4341dda3fb4c46ef9865f273",
                ),
                "class_freq.pkl": (
                    269857,
                    "cc7c8c401a2ffb8b47a5b0c2eca55a3b485cfa6658581c33e27ccbd27b145c5d",
                ),
            },
        ),
        archives=(
            Archive(voc_archive("2012"), "VOCdevkit/VOC2012/JPEGImages"),
            Archive(voc_archive("2007-test"), "VOCdevkit/VOC2007/JPEGImages", test_keeps),
            Archive(voc_archive("2007")),  # VOC 2007's own training images: in no list of VOC-LT
        ),
        facts=Facts(1142, 4952, 2346, 7632, {"head": 6, "medium": 6, "tail": 8}, classes=20),
    )


def coco_lt() -> Source:
    """COCO-LT: pictures of train2017 for training and of val2017 for test."""
    train = Published(
        f"{COCO_SERVER}/zips/train2017.zip", 19336861798, "cced6f7f71b7629ddf16f17bbcfab6b2"
    )
    test = Published(
        f"{COCO_SERVER}/zips/val2017.zip", 815585330, "442b8da7639aecaf257c1dceb8ba8c80"
    )
    annotations = Published(
        f"{COCO_SERVER}/annotations/annotations_trainval2017.zip",
        252907541,
        "f4bbac642086de4f52a3fdda2de5fa2c",
    )
    return Source(
        title="COCO-LT",
        layout=_layout("coco"),
        files=_files(
            "coco",
            "coco/longtail2017/class_freq.pkl",
            {
                "coco_lt_train.txt": (
                    76702,
                    "8e0c354ae2214d7ced46f4a5ae24236149296be4dcd2df74f00eba2abe6be0ce",
                ),
                "coco_lt_test.txt": (
                    164352,
                    "4dda722463b0ed3aada172ce1c75f46f1391e4d2bee7643760549f916a8022e5",
                ),
                "coco_labels.txt": (
                    929,
                    "a16d52dc65d8bc2b7abe5875199d802e951b7af142b327f8c85b496116a87f45",
                ),
                "coco_lt_captions.txt": (
                    572056,
                    "4bcc3de5c20e3561f6bbe90188c00cea3adf1eab58245f761e4fd9b93319fecd",
                ),
                "class_freq.pkl": (
                    1421819,
                    "7edbc381296400727d1fd8afa01af51403de8d0e892230e16312b2ae7f6a469c",
                ),
            },
        ),
        archives=(
            Archive(train, "train2017", singles=f"{COCO_SERVER}/train2017"),
            Archive(test, "val2017"),
            Archive(annotations, keeps=("annotations/captions_train2017.json",)),
        ),
        facts=Facts(1909, 5000, 8316, 14631, {"head": 22, "medium": 33, "tail": 25}, classes=80),
    )


def voc_archive(year: str) -> Published:
    """An archive of VOC, by its name in torchvision: "2012", "2007" (train and val), "2007-test"."""
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    published = DATASET_YEAR_DICT[year]
    return Published(published["url"], VOC_SIZES[year], published["md5"])


def _layout(folder: str) -> Layout:
    return Layout(
        folder=folder,
        train_list=f"{folder}_lt_train.txt",
        test_list=f"{folder}_lt_test.txt",
        labels=f"{folder}_labels.txt",
        captions=f"{folder}_lt_captions.txt",
        class_freq="class_freq.pkl",
    )


def _files(folder: str, counts: str, facts: dict[str, tuple[int, str]]) -> dict[str, Published]:
    """The small files by name; `facts` holds their sizes and checksums."""
    files = {}
    for name, (size, checksum) in facts.items():
        lmpt = f"{LMPT_FILES}/{folder}/{name}"
        url = f"{DB_LOSS_FILES}/{counts}" if name == "class_freq.pkl" else lmpt
        files[name] = Published(url, size, checksum)
    return files
