from __future__ import annotations

import json

from scripts.reliability.same_results import differences


def write(folder, mean_ap, precision=0.5):
    folder.mkdir(parents=True)
    found = {"metrics": {"mAP": mean_ap}, "per_class": [{"AP": precision}], "seconds": mean_ap}
    (folder / "results.json").write_text(json.dumps(found | {"host": str(folder)}))


def test_results_are_the_same_to_the_last_digit_or_named(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / name / "CoOp/seed1", 50.25)
    assert differences(tmp_path / "one", tmp_path / "two") == []
    write(tmp_path / "one/CoOp/seed2", 0.1 + 0.2)
    write(tmp_path / "two/CoOp/seed2", 0.3)
    write(tmp_path / "one/CoOp/seed3", 1.0, precision=0.1)
    write(tmp_path / "two/CoOp/seed3", 1.0, precision=0.2)
    write(tmp_path / "two/CoOp/seed4", 1.0)
    assert differences(tmp_path / "one", tmp_path / "two") == [
        "Only one of both has CoOp/seed4/results.json.",
        "CoOp/seed2/results.json: metrics differ.",
        "CoOp/seed3/results.json: per_class differ.",
    ]


def test_no_runs_are_no_agreement(tmp_path):
    assert len(differences(tmp_path, tmp_path)) == 1
