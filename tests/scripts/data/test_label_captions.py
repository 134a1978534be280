from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from scripts.data import label_captions
from scripts.data.label_captions import counts, scores, substring_labels, table


@pytest.fixture
def files(tmp_path):
    """Three images; the second caption names a cat that is not there and leaves the dog out."""
    (tmp_path / "labels.txt").write_text("cat 0\ndog 1\ndiningtable 2\n")
    (tmp_path / "list.txt").write_text("a.jpg 0 2\nb.jpg 1\nc.jpg 1\nd.jpg 0\n")
    (tmp_path / "captions.txt").write_text(
        "a.jpg a kitten on a dining table\nb.jpg a cat\nc.jpg some dogs\n"
    )
    return tmp_path


@pytest.fixture
def run(files, capsys):
    """Run the script on these files: what it printed, or the error it stopped with."""

    def run(*words):
        given = ["--labels", files / "labels.txt", "--captions", files / "captions.txt"]
        try:
            label_captions.main([str(word) for word in (files / "list.txt", *given, *words)])
        except SystemExit as end:
            assert end.code == 2
            return capsys.readouterr().err
        return capsys.readouterr().out

    return run


def test_scores_are_scikit_learns():
    rng = np.random.default_rng(0)
    predicted, targets = rng.random((50, 6)) < 0.3, rng.random((50, 6)) < 0.4
    predicted[:, 0] = targets[:, 1] = False  # no prediction; no positive
    expected = precision_recall_fscore_support(targets, predicted, zero_division=0)[:3]
    counted = counts(predicted, targets)
    np.testing.assert_allclose(scores(counted), 100 * np.stack(expected))
    micro = precision_recall_fscore_support(targets, predicted, average="micro")[:3]
    np.testing.assert_allclose(scores(counted.sum(axis=1)), 100 * np.array(micro))


def test_macro_leaves_out_classes_without_images():
    targets = np.array([[1, 0], [1, 0]], dtype=bool)
    rows = table(["cat", "dog"], targets, targets, targets).splitlines()
    assert rows[-1].split() == ["macro", "2", *["100.0"] * 6]


def test_substrings_are_found_in_words_too():
    assert substring_labels(["A Category"], ["cat", "dog"]).tolist() == [[True, False]]


def test_table_of_a_list(run):
    printed = run("--synonyms", "VOCLT")
    rows = {row.split("  ")[0]: row.split()[-7:] for row in printed.splitlines()}
    # Three captioned images; the name search misses the kitten, the table does not.
    assert rows["cat"] == ["1", "0.0", "0.0", "0.0", "50.0", "100.0", "66.7"]
    assert rows["dog"] == ["2", "100.0", "50.0", "66.7", "100.0", "50.0", "66.7"]
    assert rows["dining table"] == ["1", "100.0", "100.0", "100.0", "100.0", "100.0", "100.0"]
    halves = [run("--rows", half).splitlines()[-1].split()[1] for half in ("even", "odd")]
    assert halves == ["3", "1"]


def test_captions_that_are_labelled_wrongly_are_shown(run):
    assert run("--show", "cat").splitlines() == [
        "missed: a kitten on a dining table",
        "not there: a cat",
    ]
    assert run("--show", "dining table") == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--show", "cow"), "there is no class 'cow', only cat, dog"),
        (("--synonyms", "VOC"), "Did you mean 'VOCLT'"),
        (("--captions", "absent.txt"), "absent.txt"),
    ],
)
def test_mistakes(run, words, message):
    assert message in run(*words)
