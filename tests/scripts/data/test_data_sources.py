"""What is published where."""

from __future__ import annotations

from scripts.data.fetch import readable_size
from scripts.data.sources import coco_lt, voc_lt


def test_published_numbers():
    voc, coco = voc_lt(), coco_lt()
    assert [a.file.name for a in voc.archives] == [
        "VOCtrainval_11-May-2012.tar",
        "VOCtest_06-Nov-2007.tar",
        "VOCtrainval_06-Nov-2007.tar",
    ]
    for source in (voc, coco):
        assert set(source.files) == {
            source.layout.train_list,
            source.layout.test_list,
            source.layout.labels,
            source.layout.captions,
            source.layout.class_freq,
        }
        assert all(len(file.checksum) == 64 for file in source.files.values())
        assert all(len(archive.file.checksum) == 32 for archive in source.archives)
    assert [readable_size(size) for size in (19336861798, 929, 252907541)] == [
        "19.3 GB",
        "0.9 kB",
        "0.3 GB",
    ]
