import pytest

from common import shared as module
from common.shared import begin_shared_run, shared


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(module, "_kept", {})
    monkeypatch.setattr(module, "_asked", set())
    monkeypatch.setattr(module, "_sharing", False)


def test_a_process_of_one_run_keeps_nothing():
    assert shared("key", object) is not shared("key", object)
    assert not module._kept


def test_runs_share_what_has_the_same_key():
    begin_shared_run()
    first = shared("key", object)
    begin_shared_run()
    assert shared("key", object) is first
    assert shared("other", object) is not first


def test_what_a_run_did_not_ask_for_is_dropped_at_the_next():
    begin_shared_run()
    first = shared("key", object)
    begin_shared_run()
    shared("other", object)
    begin_shared_run()
    assert list(module._kept) == ["other"]
    assert shared("key", object) is not first


def test_none_is_asked_for_again():
    begin_shared_run()
    assert shared("key", lambda: None) is None
    assert shared("key", lambda: 3) == 3
