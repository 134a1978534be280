"""Every key has a rule, and whatever breaks one is refused before any work."""

from __future__ import annotations

import math
import re

import pytest
from dassl.engine import TRAINER_REGISTRY

import train
from common.config import config_rules
from common.config.config_rules import (
    Choice,
    Each,
    Number,
    OrNone,
    check_values,
    declare_rules,
    rule_of,
)
from configuration import default_cfg, flatten, own_nodes
from trainers.base import method_node
from trainers.coop import CoOp, CoOpModel

# Keys that no rule can judge, and who does. Booleans are judged by their type.
FREE = {
    "of Dassl's own methods, which are not part of this project": (
        r"TRAINER\.(MCD|MME|CDAC|SE|M3SDA|DAEL|CROSSGRAD|DDAIG|DAELDG|DOMAINMIX|ENTMIN)\..*",
        r"TRAINER\.(MEANTEACHER|MIXMATCH|FIXMATCH)\..*",
    ),
    "of Dassl's own networks and data sets": (
        *(r"MODEL\.HEAD\.(NAME|ACTIVATION)", r"OPTIM\.NEW_LAYERS", r"DATASET\.\w+_DOMAINS"),
        r"DATASET\.CIFAR_C_TYPE",
    ),
    "the config's own version": ("VERSION",),
    "a registered name, see `settle_names`": (r"\w+\.NAME", r"TEST\.EVALUATOR"),
    "a CLIP's name or file, see `load_clip`": (r"MODEL\.BACKBONE\.NAME",),
    "names that depend on the Dassl that runs, see `check_transforms`": (r"INPUT\.TRANSFORMS",),
    "class names, which the data set tells": (r"TRAINER\.\w+\.UNSEEN",),
    "what a sweep says of itself": (r"RECIPE\.SAMPLER",),
    "text for the text tower": (r"TRAINER\.\w+\.(CTX_INIT|TEMPLATE)",),
    "a file or folder": (
        *(r"OUTPUT_DIR", r"RESUME", r"MODEL\.INIT_WEIGHTS", r"DATALOADER\.CACHE_DIR"),
        r"DATASET\.(ROOT|FOLDER|CAPTIONS|CAPTIONS_PREFIX|LABEL_MASK|CLASS_SPLIT|TEXTS|SYNONYMS)",
        r"TRAINER\.\w+\.(TEMPLATES|DESCRIPTIONS)",
    ),
}


def is_free(key):
    patterns = [pattern for patterns in FREE.values() for pattern in patterns]
    return any(re.fullmatch(pattern, key) for pattern in patterns)


def test_every_key_has_a_rule_or_a_reason_to_have_none():
    without = {
        key
        for key, value in flatten(default_cfg())
        if not isinstance(value, bool) and rule_of(key, own_nodes()) is None
    }
    forgotten = sorted(key for key in without if not is_free(key))
    assert not forgotten, f"declare rules beside extend_cfg: {forgotten}"


def test_no_rule_or_reason_is_without_a_key():
    keys = [key for key, _ in flatten(default_cfg())]
    rules = [key for key in config_rules._RULES if "*" not in key]
    assert set(rules) <= set(keys)
    for patterns in FREE.values():
        for pattern in patterns:
            assert any(re.fullmatch(pattern, key) for key in keys), pattern


def test_defaults_keep_the_rules():
    check_values(default_cfg(), methods=own_nodes())


def cfg_of(*words, trainer="LMPT"):
    words = ["--trainer", trainer, *map(str, words)]
    return train.build_cfg(train.build_parser().parse_intermixed_args(words))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_no_number_may_be_infinite_or_nan(value):
    for key, default in flatten(default_cfg()):
        rule = rule_of(key, own_nodes())
        if isinstance(default, float) and rule is not None:
            assert not rule.allows(float(value)), key
            assert not rule.allows(True) and not rule.allows("1"), key


BROKEN = {
    "OPTIM.MAX_EPOCH": (("0", "1 or more"), ("-1", "1 or more")),
    "OPTIM.LR": (("1e999", "0 or more, got inf. Numbers must be finite."), ("-1", "0 or more")),
    "OPTIM.WARMUP_EPOCH": (("-2", "0 or more, or -1"),),
    "OPTIM.MOMENTUM": (("2", r"in \[0, 1\), got 2.0"),),
    "OPTIM.PATIENCE": (("-1", "0 or more"),),
    "OPTIM.GAMMA": (("0", r"in \(0, 1\]"),),
    "OPTIM.LR_SCHEDULER": (("plateu", "one of .*, plateau, .* Did you mean 'plateau'"),),
    "OPTIM.NAME": (("sdg", "one of .* Did you mean 'sgd'"),),
    "INPUT.SIZE": (
        ("96", r"2 values, each 1 or more, got \(96,\). Did you mean \(96, 96\)\?"),
        ("(96, 0)", "2 values, each 1 or more"),
    ),
    "INPUT.GB_K": (("20", "1 or more and odd"),),
    "TRAIN.PRINT_FREQ": (("0", "1 or more"),),
    "DATALOADER.TRAIN_X.BATCH_SIZE": (("0", "1 or more"),),
    "DATALOADER.NUM_WORKERS": (("-1", "0 or more"),),
    "DATASET.NUM_SHOTS": (("0", "1 or more, or -1"),),
    "SEED": (("-2", r"in \[0, 4294967295\], or -1"),),
    "TRAINER.LMPT.CSE.GAMMA": (("-1", "0 or more"), ("'x'", "0 or more"), ("True", "0 or more")),
    "TRAINER.LMPT.CSE.SPACE": (
        ("txet", "one of token, pooled, text, got 'txet'. Did you mean 'text'"),
        (3, "one of token, pooled, text"),
    ),
    "TRAINER.LMPT.N_CTX": (("0", "1 or more"),),
    "TRAINER.LMPT.PREC": (("fp64", "one of fp32, fp16, bf16, amp"),),
    "TRAINER.LOSS.NAME": (("dbb", "one of .* Did you mean 'db'"),),
}


@pytest.mark.parametrize(
    "key, value, rule", [(key, *case) for key, cases in BROKEN.items() for case in cases]
)
def test_a_value_that_breaks_its_rule_is_refused(key, value, rule):
    with pytest.raises(ValueError, match=f"^{re.escape(key)} must be {rule}"):
        cfg_of(key, value)


def test_several_are_told_at_once():
    with pytest.raises(ValueError, match="3 values cannot be used:") as error:
        cfg_of("OPTIM.LR", "-1", "OPTIM.MAX_EPOCH", 0, "TRAINER.LMPT.LAMBDA", 2)
    told = str(error.value).splitlines()[1:]
    assert {line.split()[0] for line in told} == {
        *("OPTIM.LR", "OPTIM.MAX_EPOCH", "TRAINER.LMPT.LAMBDA")
    }


def test_words_for_none_stay_legal():
    cfg = cfg_of("DATASET.NUM_SHOTS", -1, "OPTIM.WARMUP_EPOCH", -1, "SEED", -1)
    assert (cfg.DATASET.NUM_SHOTS, cfg.OPTIM.WARMUP_EPOCH, cfg.SEED) == (-1, -1, -1)
    assert cfg_of("TRAINER.LMPT.CSE.GAMMA", "None").TRAINER.LMPT.CSE.GAMMA is None


def test_the_seed_flag_is_not_negative():
    with pytest.raises(ValueError, match="--seed must be 0 or more, got -1"):
        cfg_of("--seed", -1)


def test_methods_that_build_on_ours_share_the_rules_of_shared_keys(monkeypatch):
    mine = type("Mine", (CoOp,), {})
    objects = getattr(TRAINER_REGISTRY, "_objects", None) or TRAINER_REGISTRY._obj_map
    monkeypatch.setitem(objects, "Mine", mine)
    cfg = default_cfg()
    cfg.TRAINER.MINE = method_node(CoOpModel, LOGIT_SCALE="learnt:20")
    assert "MINE" in own_nodes()
    with pytest.raises(ValueError, match="TRAINER.MINE.LOGIT_SCALE must be 0 or more, got 'learnt"):
        check_values(cfg, methods=own_nodes())
    check_values(cfg, methods=own_nodes() - {"MINE"})  # a method of others may mean something else


@pytest.mark.parametrize(
    "rule, text, allowed, refused",
    [
        (Number(), "a number", [0, -1.5], [math.inf, math.nan, None, True, "1"]),
        (Number(least=0), "0 or more", [0, 3], [-0.1]),
        (Number(above=0), "above 0", [1e-9], [0]),
        (Number(most=1), "1 or less", [-5, 1], [1.1]),
        (Number(below=1), "below 1", [-5, 0.9], [1]),
        (Number(least=0, below=1), "in [0, 1)", [0, 0.5], [1, -1]),
        (Number(above=0, most=1), "in (0, 1]", [1], [0]),
        (Number(least=1, also=(-1,)), "1 or more, or -1", [1, -1], [0]),
        (Number(least=1, odd=True), "1 or more and odd", [3], [2]),
        (Choice(("a", "b")), "one of a, b", ["a"], ["A", 1, None, []]),
        (Each(Number(least=1)), "any number of values, each 1 or more", [(), [1, 2]], [1, [0]]),
        (Each(Number(), 2), "2 values, each a number", [(1, 2)], [(1,), "ab"]),
        (OrNone(Choice(("a",))), "one of a", [None, "a"], ["b"]),
    ],
)
def test_rules(rule, text, allowed, refused):
    assert str(rule) == text
    assert all(map(rule.allows, allowed)) and not any(map(rule.allows, refused))


def test_a_node_is_checked_under_its_place(monkeypatch):
    monkeypatch.setattr(config_rules, "_RULES", {})
    declare_rules("A", {"B.C": Number(least=0)})
    check_values({"B": {"C": -1}})
    with pytest.raises(ValueError, match="A.B.C must be 0 or more, got -1"):
        check_values({"B": {"C": -1}}, "A")
