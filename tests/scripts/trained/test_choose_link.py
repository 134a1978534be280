from __future__ import annotations

import json
import re

import train
from scripts import choose_link
from tests.helpers.sets.small_set import arguments, write_set


def test_the_printed_words_evaluate_with_the_chosen_link(tmp_path, capsys):
    write_set(tmp_path)
    run = tmp_path / "run"
    words = ("DATASET.VAL_FRACTION", "0.34", "OPTIM.MAX_EPOCH", "1", "TEST.SPLIT", "val")
    train.main(arguments(tmp_path, "CoOp", run, *words))
    capsys.readouterr()
    choose_link.main(["--model-dir", str(run)])
    printed = capsys.readouterr().out
    chosen = float(re.search(r"mAP softmax_link: ([0-9.]+)%", printed)[1])
    assert chosen > 0 and "from scores.npz" in printed
    link = printed.splitlines()[-1].split()
    keys = dict(zip(link[::2], link[1::2], strict=True))
    assert [*keys][:2] == ["TEST.SCORE", "TEST.LINK"]
    train.main(
        arguments(tmp_path, "CoOp", run, *words, "--eval-only", "--model-dir", str(run), *link)
    )
    found = json.loads((run / "results_eval.json").read_text())
    assert abs(found["metrics"]["mAP"] - chosen) < 0.02
    centre, width = (float(keys.get(f"TEST.LINK_{key}", 0)) for key in ("CENTRE", "WIDTH"))
    assert found["link"] == {"centre": centre, "width": width}
    assert (width == 0) == (keys["TEST.LINK"] == "identity")
    assert found["metrics"]["mAP_softmax_link"] == found["metrics"]["mAP"]
