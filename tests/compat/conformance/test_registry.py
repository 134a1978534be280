from __future__ import annotations

import pytest
from dassl.data.datasets import build_dataset
from dassl.engine import build_trainer
from dassl.evaluation import Classification, build_evaluator
from dassl.utils import Registry, check_availability, get_most_similar_str_to_a_from_b

from .toy import ConformanceColours, toy_cfg


class Tool:
    pass


def test_register_as_decorator_and_as_call():
    registry = Registry("TOOL")

    @registry.register()
    class Decorated:
        pass

    assert registry.get("Decorated") is Decorated
    assert registry.register(Tool) is None
    assert registry.registered_names() == ["Decorated", "Tool"]


def test_a_name_is_taken_once_unless_forced():
    registry = Registry("TOOL")
    registry.register(Tool)
    with pytest.raises(KeyError) as caught:
        registry.register(Tool)
    text = 'An object named "Tool" was already registered in "TOOL" registry'
    assert caught.value.args == (text,)
    other = type("Tool", (), {})
    registry.register(other, force=True)
    assert registry.get("Tool") is other


def test_get_of_an_unknown_name():
    with pytest.raises(KeyError) as caught:
        Registry("TOOL").get("Hammer")
    assert caught.value.args == ('Object name "Hammer" does not exist in "TOOL" registry',)


def test_check_availability_gives_the_nearest_name():
    check_availability("LMPT", ["CoOp", "LMPT"])
    with pytest.raises(ValueError) as caught:
        check_availability("LMTP", ["CoOp", "LMPT"])
    assert str(caught.value) == (
        "The requested one is expected to belong to ['CoOp', 'LMPT'], but got [LMTP] "
        "(do you mean [LMPT]?)"
    )
    assert get_most_similar_str_to_a_from_b("x", ["a", "b"]) == "b"


def test_builders_name_the_nearest_and_announce_what_they_load(tmp_path, capsys):
    typo = toy_cfg(tmp_path, "DATASET.NAME", "ConformanceColour", "TRAINER.NAME", "ConformanceLin")
    with pytest.raises(ValueError, match=r"do you mean \[ConformanceColours\]"):
        build_dataset(typo)
    with pytest.raises(ValueError, match=r"do you mean \[ConformanceLinear\]"):
        build_trainer(typo)

    cfg = toy_cfg(tmp_path, "VERBOSE", True)
    assert isinstance(build_dataset(cfg), ConformanceColours)
    assert isinstance(build_evaluator(cfg, lab2cname={}), Classification)
    printed = capsys.readouterr().out
    assert "Loading dataset: ConformanceColours\n" in printed
    assert "Loading evaluator: Classification\n" in printed
    build_trainer(cfg)
    assert "Loading trainer: ConformanceLinear\n" in capsys.readouterr().out
