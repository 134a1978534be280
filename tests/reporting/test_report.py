from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

pytest.importorskip("matplotlib")

from PIL import Image

from evaluation.results.reports import load_results
from reporting.report import write_report
from tests.helpers.runs.saved_runs import made_scores, write_run

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=https://evil.test/x onerror=alert(1)>',
    "../../up",
    "</style></script><h1>",
    r"$\frac{ {{ 7 * 7 }} & ' _",
]
VOID = {"meta", "img", "br", "input"}


class Page(HTMLParser):
    """Tags with their attributes, texts, and whether every tag is closed by its own."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open, self.contents = [], [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())
        self.contents.setdefault(self.open[-1] if self.open else "", []).append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A page on two methods whose class names, paths and folders mean harm."""
    root = tmp_path_factory.mktemp("hostile")
    for trainer in ("LMPT", "ZeroshotCLIP"):
        logits, targets = made_scores(24, 5, len(trainer))
        targets[:, 4] = 0
        paths = [str(root / f"<b>{i % 2}.png") for i in range(24)]
        Image.new("RGB", (30, 20)).save(paths[0])
        write_run(root / trainer / "<i>" / "seed1", HOSTILE, logits, targets, paths, trainer)
    return write_report([root / "LMPT", root / "ZeroshotCLIP"], root / "report")


def test_names_and_paths_stay_text(hostile):
    page = Page(hostile.read_text())
    assert not page.open
    assert len(page.named("script")) == len(page.named("style")) == len(page.named("h1")) == 1
    assert not page.named("b") and not page.named("i")
    assert not any(name.startswith("on") for _, tag in page.tags for name in tag)
    for name in HOSTILE:
        assert name in page.texts
    files = [path for path in hostile.parent.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert all(re.fullmatch(r"[\w.]+", path.name) for path in files)


def test_nothing_outside_the_page_is_asked_for(hostile):
    text = hostile.read_text()
    page = Page(text)
    ids = [tag["id"] for _, tag in page.tags if "id" in tag]
    assert len(ids) == len({*ids})
    for name, tag in page.tags:
        for key in {"src", "href", "srcset", "action", "data", "poster", "xlink:href"} & {*tag}:
            address = tag[key]
            inside = address.startswith("#") and address[1:] in ids
            assert inside or (name == "img" and address.startswith("data:image/")), address
        assert name not in {"link", "iframe", "object", "embed", "base"}
        assert "style" not in tag
    assert all(image["alt"] for image in page.named("img"))
    policy = next(tag["content"] for tag in page.named("meta") if "http-equiv" in tag)
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        (content,) = page.contents[tag]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
        assert "://" not in content and "url(" not in content and "@import" not in content


def cells(text, section):
    """Texts of the cells of the rows of a section's first table body."""
    body = re.search(rf'id="{section}".*?<tbody>(.*?)</tbody>', text, re.S)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.S)
    return [re.findall(r"<t[dh][^>]*>(?:<a[^>]*>)?([^<]*)", row) for row in rows]


def test_cells_are_those_of_the_results(hostile):
    text = hostile.read_text()
    lmpt, zero_shot = load_results(hostile.parent.parent)
    for row, run in zip(cells(text, "runs"), (lmpt, zero_shot), strict=True):
        metrics = [run["metrics"].get(k) for k in ("mAP", "mAP_head", "mAP_medium", "mAP_tail")]
        assert row[0] == run["trainer"]
        assert row[6:10] == [f"{value:.2f}" for value in metrics]
    for row, own, base in zip(
        cells(text, "classes"), lmpt["per_class"], zero_shot["per_class"], strict=True
    ):
        assert row[1:4] == [own["group"], str(own["train_count"]), str(own["positives"])]
        if own["AP"] is None:
            assert row[4:] == ["–"] * 4
        else:
            gap = f"{own['AP'] - base['AP']:+.1f}".replace("-", "−")
            assert row[4:] == [f"{own['AP']:.1f}", gap, f"{base['AP']:.1f}", "0.0"]


def test_runs_with_weights_show_regions_and_captions(runs, tmp_path):
    text = write_report([runs], tmp_path / "report", mistakes=2).read_text()
    assert "train/loss over training" in text
    assert text.count("its strongest region framed") > 0
    for method in ("CoOp", "DualCoOp"):
        assert f"{method}: nearest training captions" in text
    assert "DualCoOp: nearest words" in text  # with their class
    words = text[text.index('<section id="words">') :]
    assert "<summary>CoOp " in words[: words.index("</section>")]  # shared by all classes
    tables = (tmp_path / "report" / "words").iterdir()
    assert {path.name for path in tables} == {"000_CoOp_CoOp.csv", "001_DualCoOp_DualCoOp.csv"}
    assert 'class="note"' not in text


def test_parts_that_cannot_be_made_say_why(tmp_path):
    logits, targets = made_scores(20, 2)
    folder = write_run(tmp_path / "run", ["cat", "dog"], logits, targets, ["a.jpg"] * 20)
    (folder / "scores.npz").unlink()
    text = write_report([folder], tmp_path / "report").read_text()
    assert "no scores.npz" in text and "TEST.SAVE_SCORES test" in text
    assert "holds no config.yaml" in text
    assert "no TensorBoard files" in text
    assert "ZeroshotCLIP" not in text and 'id="reference"' not in text


def test_eighty_classes_have_a_part_each(tmp_path):
    names = [f"class {c}" for c in range(80)]
    logits, targets = made_scores(12, 80)
    targets[:, 1:] = targets[:, 1:].clamp(max=0)  # the figures of one class are enough here
    paths = ["a.jpg"] * 12
    folder = write_run(tmp_path / "run", names, logits, targets, paths, score="softmax")
    page = Page(write_report([folder], tmp_path / "report", 1, 0).read_text())
    details = [tag["id"] for tag in page.named("details") if tag.get("class") == "class"]
    assert details == [f"class-{c}" for c in range(80)]  # the most frequent first
    links = [tag["href"] for tag in page.named("a")]
    assert [link for link in links if "class-" in link] == [f"#{d}" for d in details]
