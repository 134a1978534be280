"""Values that were spelled otherwise once are answered with today's spelling."""

from __future__ import annotations

import re

import pytest

import train
from common.config.former_spellings import advice, in_words, renamed

OWN = "TRAINER.DUALCOOP.LOGIT_SCALE"
REGION = "TRAINER.DUALCOOP.REGION_SCALE"


@pytest.mark.parametrize(
    "key, value, written",
    [
        (OWN, "clip", f"{OWN} 0"),
        (OWN, "learnt", f"{OWN} 0 {OWN}_LEARNABLE True"),
        (OWN, "learnt:20.5", f"{OWN} 20.5 {OWN}_LEARNABLE True"),
        (REGION, "clip", f"{REGION} 100"),
        (REGION, "learnt:20", f"{REGION} 20 {REGION}_LEARNABLE True"),
    ],
)
def test_a_scale_in_words_is_refused_and_the_answer_is_taken(key, value, written):
    def cfg_of(*words):
        words = ["--trainer", "DualCoOp", *words]
        return train.build_cfg(train.build_parser().parse_intermixed_args(words))

    with pytest.raises(ValueError, match=re.escape(f"{key} takes float")) as error:
        cfg_of(key, value)
    assert str(error.value).endswith(f" Write: {written}")
    cfg_of(*written.split())


def test_numbers_are_numbers_however_they_are_written(tmp_path):
    path = tmp_path / "my.yaml"
    for text in ("50", "50.0", "'50'"):
        path.write_text(f"TRAINER:\n  COOP:\n    LOGIT_SCALE: {text}\n")
        words = ["--trainer", "CoOp", "--config-file", str(path)]
        cfg = train.build_cfg(train.build_parser().parse_intermixed_args(words))
        assert repr(cfg.TRAINER.COOP.LOGIT_SCALE) == "50.0"


@pytest.mark.parametrize(
    "old, new", [("True", "all"), ("False", "off"), ("all", "all"), ("test", "test")]
)
def test_a_truth_value_of_old_keeps_its_meaning(old, new, tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(f"TEST:\n  SAVE_SCORES: {old}\n")
    for words in (["--config-file", str(path)], ["TEST.SAVE_SCORES", old]):
        parser = train.build_parser()
        cfg = train.build_cfg(parser.parse_intermixed_args(["--trainer", "CoOp", *words]))
        assert cfg.TEST.SAVE_SCORES == new
    assert in_words("TEST.NO_TEST", True) is True


def test_other_keys_and_values_have_no_former_spelling():
    assert advice("OPTIM.LR", "clip") == ""
    assert advice(OWN, "soft") == "" == advice(OWN, 3)


def test_a_key_that_is_gone_says_what_takes_its_place():
    words = ["--trainer", "LMPT", "TRAINER.LMPT.CSE.SIGN", "hinge"]
    with pytest.raises(ValueError, match="no key TRAINER.LMPT.CSE.SIGN any more: .*LMPT.PRESET"):
        train.build_cfg(train.build_parser().parse_intermixed_args(words))


@pytest.mark.parametrize(
    "old, new",
    [
        ("DUALCOOPPP.WTA", "DUALCOOPPP.WINNER_TAKES_ALL"),
        ("COOP.LOGIT_BIAS", "COOP.COSINE_OFFSET"),
        ("PVLR.CAP", "PVLR.CONTEXT_SIDE"),
        ("PVLR.DMA", "PVLR.CROSS_ATTENTION"),
    ],
)
def test_a_renamed_key_says_its_new_name(old, new):
    assert renamed(f"TRAINER.{old}") == f"TRAINER.{new}"
    with pytest.raises(ValueError, match=f"no key TRAINER.{old} any more: it is TRAINER.{new} now"):
        train.build_cfg(train.build_parser().parse_args([f"TRAINER.{old}", "off"]))
