"""docs/standard_sets.md has the figures of docs/published.csv, and no others."""

from __future__ import annotations

import csv
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
TITLES = {"VOC 2007": "VOC07", "COCO 2014": "COCO14", "NUS-WIDE": "NUS-WIDE"}
BACKBONES = ("", "RN50", "RN101", "ViT-B/32", "ViT-B/16", "RN101 + RN50", "RN101 ImageNet")
PARTIAL = re.compile(r"partial (?:mean )?(\d+(?:-90)?%)(?:; [\d +px]+)?")

Figure = tuple[str, ...]  # data set, method, backbone, protocol, metric, value, source


def published() -> set[Figure]:
    with (DOCS / "published.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] in TITLES.values()]
    found = set()
    for row in rows:
        if row["backbone"] in BACKBONES or row["method"] == "ASL":
            keys = ("dataset", "method", "backbone", "protocol", "metric", "total", "source")
            dataset, method, backbone, protocol, *rest = (row[key] for key in keys)
            share = PARTIAL.fullmatch(protocol)
            found.add((dataset, method, backbone, share[1] if share else protocol, *rest))
    return found


def on_the_page() -> set[Figure]:
    text = (DOCS / "standard_sets.md").read_text(encoding="utf-8")
    sources = dict(re.findall(r"^(\d+)\. (.*)$", text, re.MULTILINE))
    found = set()
    for section in text.split("\n### ")[1:]:
        dataset, header = TITLES.get(section.split("\n")[0], ""), []
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("| method"):
                header = cells
            elif line.startswith("| "):
                row = dict(zip(header, cells, strict=True))
                assert row["ours"] == "", "a figure of ours needs a command and seeds beside it"
                method, backbone = row["method"], row["backbone"].replace("not stated", "")
                if "metric" in row:
                    shares = {row["protocol"]: row["published"]}
                else:
                    shares = {k: v for k, v in row.items() if v and k[:2].isdigit()}
                    shares |= {"10-90%": row["mean"]} if row["mean"] else {}
                for protocol, value in shares.items():
                    facts = (protocol, row.get("metric", "mAP"), value, sources[row["source"]])
                    found.add((dataset, method, backbone, *facts))
    return found


def test_the_page_has_the_figures_of_the_file_and_no_others():
    assert len(on_the_page()) > 100
    assert on_the_page() == published()


def test_every_table_of_a_standard_set_is_named():
    from scripts.lib.paper_tables import TABLES

    text = (DOCS / "standard_sets.md").read_text(encoding="utf-8")
    for name, table in TABLES.items():
        if not name.endswith("_lt"):
            assert f"reproduce.sh {name} {table.backbones[0]}" in text
            assert all(backbone in text for backbone in table.backbones)
