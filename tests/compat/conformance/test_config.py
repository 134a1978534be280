from __future__ import annotations

import hashlib

import pytest
from dassl.config import cfg_default, clean_cfg, get_cfg_default


def flat(node, prefix=""):
    for key, value in sorted(node.items()):
        if hasattr(value, "items"):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={value!r}"


def test_every_default_is_dassls():
    lines = list(flat(get_cfg_default()))
    assert len(lines) == 135
    assert "OPTIM.SGD_DAMPNING=0" in lines and "TRAINER.CDAC.P_THRESH=0.95" in lines
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert digest == "c96ae70053367e02d6f4a05d310b43cd0300f0a1f4967a66b8789c7cd8954361", "\n".join(
        lines
    )


def test_a_config_is_a_copy_of_the_defaults():
    cfg = get_cfg_default()
    cfg.OPTIM.LR = 1.0
    cfg.INPUT.PIXEL_MEAN[0] = 0.0
    assert cfg_default.OPTIM.LR == 0.0003
    assert get_cfg_default().INPUT.PIXEL_MEAN[0] == 0.485


def test_clean_cfg_keeps_the_name_and_one_node():
    cfg = get_cfg_default()
    clean_cfg(cfg, "FixMatch")
    assert set(cfg.TRAINER) == {"NAME", "FIXMATCH"}


def test_unknown_keys_are_refused():
    with pytest.raises(AssertionError, match="Non-existent key"):
        get_cfg_default().merge_from_list(["OPTIM.LEARNING_RATE", 1.0])


def test_values_keep_their_type():
    cfg = get_cfg_default()
    cfg.merge_from_list(["OPTIM.LR", "1e-5", "INPUT.TRANSFORMS", "['normalize']"])
    assert cfg.OPTIM.LR == 1e-5
    assert cfg.INPUT.TRANSFORMS == ("normalize",)
    with pytest.raises(ValueError, match="Type mismatch"):
        cfg.merge_from_list(["OPTIM.LR", 1])
