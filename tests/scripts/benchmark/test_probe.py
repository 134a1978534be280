from __future__ import annotations

import re

from scripts.benchmark import probe


def test_a_run_on_random_features_is_timed(capsys, monkeypatch):
    monkeypatch.setattr(probe, "_QUICK", ("tiny", 70, 12))
    for trainer, local in (("TARP", 9), ("LinearProbe", 0)):
        more = ["DATALOADER.TRAIN_X.BATCH_SIZE", "14"]
        probe.main(["--quick", "--trainer", trainer, "--epochs", "2", *more])
        lines = capsys.readouterr().out.splitlines()
        rows = dict(pair for line in lines if len(pair := re.split(r"\s{2,}", line)) == 2)
        assert {"2 epochs, 70 images", "a step, of 10", "evaluation, 12 images"} <= set(rows)
        assert float(rows["2 epochs, 70 images"].removesuffix(" s")) >= 0  # shown with one digit
        size = (2 * 70 + 12) * 128 * (4 + 2 * local)  # bytes, of which a row has MiB
        assert rows["cached features"] == f"{size / 2**20:,.1f} MiB"
