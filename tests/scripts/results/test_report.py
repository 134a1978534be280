from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")

from common.user_errors import run_command
from scripts.report import main
from tests.helpers.runs.saved_runs import made_scores, write_run


def test_the_page_is_written_where_it_was_asked_for(tmp_path, capsys):
    logits, targets = made_scores(20, 1)
    folder = write_run(tmp_path / "run", ["cat"], logits, targets, ["a.jpg"] * 20)
    nothing = [word for part in ("mistakes", "captions", "words") for word in (f"--{part}", "0")]
    main([str(folder), "--output", str(tmp_path / "here"), *nothing])
    page = tmp_path / "here" / "index.html"
    assert f"Report written to {page}" in capsys.readouterr().out
    text = page.read_text()
    assert "false positives" not in text and "nearest training captions" not in text
    assert "the weights do not load" not in text


@pytest.mark.parametrize(
    "words, message",
    [
        (["nowhere"], "nowhere"),
        (["nowhere", "--mistakes", "-1"], "expected a number of 0 or more, got '-1'"),
        (["nowhere", "--captions", "many"], "expected a number of 0 or more, got 'many'"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        run_command(lambda: main(words))
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
