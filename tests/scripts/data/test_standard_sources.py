"""VOC 2007, COCO 2014 and NUS-WIDE, prepared from small archives of a server on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from datasets.files.list_files import read_list
from datasets.official.voc import labels_digest
from scripts import prepare_data
from scripts.data.check import check
from scripts.data.fetch import Preparation, instructions
from scripts.data.sources import Facts, Published, Source
from scripts.data.standard_sources import coco14, nus_wide, nus_wide_asl, voc07
from tests.helpers.local_server import serve
from tests.helpers.sets.official_sets import ASL, COCO, VOC, write, write_coco2014, write_nus_wide, write_voc2007
from tests.helpers.sets.small_archives import jpeg, states, tar, zipped

JPEGS = "VOCdevkit/VOC2007/JPEGImages"


def files_below(folder: Path, *parts: str) -> dict[str, bytes]:
    """Files of which the path holds one of the parts."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    return {n: p.read_bytes() for n, p in paths.items() if any(part in n for part in parts)}


def voc_archives(root: Path) -> dict[str, bytes]:
    folder, made = write_voc2007(root).parents[1], {}
    for name, archive in (("trainval", voc07().archives[0]), ("test", voc07().archives[1])):
        pictures = {f"{JPEGS}/{image}.jpg": jpeg(9) for image in VOC[name]}
        notes = files_below(folder, f"Main/{name}.txt", *VOC[name])
        made[archive.file.name] = tar(notes | pictures)
    return made


def coco_archives(root: Path) -> dict[str, bytes]:
    made = {"annotations_trainval2014.zip": zipped(files_below(write_coco2014(root), ".json"))}
    for split, images in COCO.items():
        names = [f"{split}/COCO_{split}_{image:012}.jpg" for image in images]
        made[f"{split}.zip"] = zipped({name: jpeg(9) for name in names})
    return made


def nus_archives(root: Path) -> dict[str, bytes]:
    folder = write_nus_wide(root)
    tops = ("ImageList", "ConceptsList", "Groundtruth", "NUS_WID_Tags")
    return {f"{top}.zip": zipped(files_below(folder, f"{top}/")) for top in tops}


def small(source: Source, facts: Facts, files: dict[str, bytes], url: Callable) -> Source:
    """A source with the archives of a server; without checksums where none are published."""

    def archive(old):
        name = old.file.name
        digest = hashlib.md5(files[name]).hexdigest() if old.file.checksum else ""
        return replace(old, file=Published(url(name), len(files[name]), digest))

    return replace(source, archives=tuple(map(archive, source.archives)), facts=facts)


CASES = {
    "voc07": (voc07, voc_archives, Facts(3, 2, 4, 2, {"tail": 20})),
    "coco14": (coco14, coco_archives, Facts(3, 2, 3, 1, labelled={"train": 2, "test": 1})),
    "nus-wide": (nus_wide, nus_archives, Facts(3, 2, labelled={"train": 2, "test": 1})),
}


def test_the_table_of_asl_is_placed_by_hand(tmp_path):
    concepts = nus_archives(tmp_path / "official")["ConceptsList.zip"]
    with serve({"ConceptsList.zip": concepts}) as server:
        facts = Facts(1, 1, 2, 1, labelled={"train": 1, "test": 1})
        source = small(nus_wide_asl(), facts, {"ConceptsList.zip": concepts}, server.url)
        with pytest.raises(FileNotFoundError, match=r"no nus_wid_data\.csv(.|\n)*by hand"):
            Preparation(source, tmp_path / "nus_wide").run()
        write(tmp_path / "nus_wide/nus_wid_data.csv", ASL)
        assert Preparation(source, tmp_path / "nus_wide").run() == []
    found = states(check(source, tmp_path / "nus_wide"))
    assert found["nus_wide_asl_test.txt"] == "ok" and "test list" not in found


@pytest.mark.parametrize("dataset", CASES)
def test_fetch_unpack_make_lists_and_check(dataset, tmp_path, monkeypatch, capsys):
    make, archives, facts = CASES[dataset]
    files = archives(tmp_path / "official")
    root = ["--root", str(tmp_path / "data")]
    with serve(files) as server:
        source = small(make(), facts, files, server.url)
        monkeypatch.setitem(prepare_data.SOURCES, dataset, lambda: source)
        code = prepare_data.main([dataset, *root])
        asked = list(server.asked)
        assert prepare_data.main([dataset, *root]) == code and server.asked == asked
    found = states(check(source, tmp_path / "data" / source.layout.folder))
    pictures = "absent" if dataset == "nus-wide" else "ok"
    assert found.pop("train pictures") == found.pop("test pictures") == pictures
    assert set(found.values()) == {"ok"}
    assert code == int(dataset == "nus-wide")
    assert ("on request alone" in capsys.readouterr().out) == (dataset == "nus-wide")
    other = replace(source, facts=replace(facts, train=4))
    assert states(check(other, tmp_path / "data" / source.layout.folder))["train list"] == "wrong"


def test_test_labels_are_compared_with_the_published_ones(tmp_path):
    files = voc_archives(tmp_path / "official")
    with serve(files) as server:
        source = small(voc07(), CASES["voc07"][2], files, server.url)
        assert Preparation(source, tmp_path / "voc").run() == []
    entries = read_list(tmp_path / "voc/voc07_test.txt", 20)
    for digest, state in ((labels_digest(entries), "ok"), ("0" * 64, "wrong")):
        changed = replace(source, facts=replace(source.facts, digest=digest))
        assert states(check(changed, tmp_path / "voc"))["test labels"] == state


def test_what_to_fetch_by_hand_where_nothing_can_be(tmp_path):
    with serve({}) as server:
        files = {"ImageList.zip": b"", "ConceptsList.zip": b"", "Groundtruth.zip": b""}
        files["NUS_WID_Tags.zip"] = b""
        source = small(nus_wide(), CASES["nus-wide"][2], files, server.url)
        failures = Preparation(source, tmp_path / "nus_wide").run()
    assert sorted(failure.file.name for failure in failures) == sorted(files)
    assert "size   not published, nor a checksum" in instructions(failures)
