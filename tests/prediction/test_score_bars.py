from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from prediction.comparison import Column, Row
from prediction.score_bars import table_html

COLUMNS = [
    Column("runs/<mine>", "sigmoid", {"cat": 0.3, "dog": 0.3}),
    Column("zero-shot CLIP", "softmax", {}),
]


class Cells(HTMLParser):
    """The texts of the body's rows, and whether each is behind a line that unfolds it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows, self.folded, self.inside, self.body = [], [], False, False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.inside = self.inside or tag == "details"
        self.body = self.body or tag == "tbody"
        if tag == "tr" and self.body:
            self.rows.append([])
            self.folded.append(self.inside)
        if tag in ("td", "th") and self.body:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "details"
        self.body = self.body and tag != "tbody"

    def handle_data(self, data):
        if self.body:
            self.rows[-1][-1] += data


def test_eighty_classes_show_twenty_and_unfold_the_others():
    rows = [Row(f"class {i}", (1 - i / 80, i / 80)) for i in range(80)]
    html = table_html(COLUMNS, rows)
    found = Cells(html)
    assert [row[0] for row in found.rows] == [row.classname for row in rows]
    assert found.folded == [False] * 20 + [True] * 60
    assert "60 more classes" in html
    assert "more class" not in table_html(COLUMNS, rows[:20])
    assert "1 more class<" in table_html(COLUMNS, rows[:21])


def test_numbers_bars_and_ticks_say_the_same():
    html = table_html(COLUMNS, [Row("cat", (0.456, 0.9)), Row("dog", (0.3, None))])
    assert Cells(html).rows == [["cat", "45.6 ✓", "90.0"], ["dog", "30.0", "–"]]
    assert re.findall(r'score-bar(?: is-above)?" style="width: ([\d.]+)%', html) == [
        *("45.60", "90.00", "30.00")
    ]
    assert html.count("is-above") == 1
    assert re.findall(r'score-mark" style="left: ([\d.]+)%', html) == ["30.00", "30.00"]


def test_classes_may_have_thresholds_of_their_own():
    rows = [Row("cat", (0.4,)), Row("dog", (0.4,))]
    html = table_html([Column("mine", "sigmoid", {"cat": 0.3, "dog": 0.5})], rows)
    assert Cells(html).rows == [["cat", "40.0 ✓"], ["dog", "40.0"]]
    assert re.findall(r'score-mark" style="left: ([\d.]+)%', html) == ["30.00", "50.00"]
    assert "a threshold for each class" in html
    assert "threshold 30" in table_html(COLUMNS, rows[:0])


@pytest.mark.parametrize("name", ("<script>alert(1)</script>", 'a"b', "R&D", "<img src=x>"))
def test_names_are_text_and_nothing_else(name):
    html = table_html(COLUMNS, [Row(name, (0.1, 0.2))])
    assert Cells(html).rows[0][0] == name
    assert name not in html or name == 'a"b'  # quotes mean nothing between tags
    assert "runs/<wbr>&lt;mine&gt;" in html
