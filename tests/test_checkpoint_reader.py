from __future__ import annotations

import io
import pickle
from collections import Counter

import pytest
import torch

from compat.checkpoint_reader import (
    _SAFE_GLOBALS,
    Placeholder,
    _Unpickler,
    load_checkpoint,
    saved_state,
)

UNPICKLER = _Unpickler(io.BytesIO())
# `setattr(<global>, "pwned", True)` in pickle's own language.
TAMPER = b"\x80\x02c%s\n%s\n(N}X\x05\x00\x00\x00pwned\x88stb."


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module in _SAFE_GLOBALS for name in _SAFE_GLOBALS[module]],
)
def test_a_file_cannot_change_what_it_is_given(module, name):
    if module == "numpy.core.multiarray":
        pytest.importorskip(module)
    _Unpickler.find_class(UNPICKLER, module, name)  # exists
    try:
        _Unpickler(io.BytesIO(TAMPER % (module.encode(), name.encode()))).load()
    except (AttributeError, TypeError):
        pass
    assert not hasattr(pickle._getattribute(__import__(module, fromlist=[name]), name)[0], "pwned")


def test_the_tampering_works_on_what_is_not_guarded():
    class Victim:
        pass

    globals()["Victim"] = Victim
    Victim.__qualname__ = "Victim"
    pickle.loads(TAMPER % (__name__.encode(), b"Victim"))
    assert Victim.pwned is True


@pytest.mark.parametrize(
    ("module", "name"),
    [
        *[("os", "system"), ("builtins", "eval"), ("builtins", "getattr"), ("__builtin__", "exec")],
        *[("torch", "load"), ("torch.jit", "load"), ("torch.hub", "load"), ("torch", "os.system")],
        *[("collections", "namedtuple"), ("numpy", "load"), ("pickle", "loads")],
        *[("torch._utils", "importlib"), ("compat.checkpoint_reader", "Placeholder")],
    ],
)
def test_everything_else_is_a_placeholder(module, name):
    found = UNPICKLER.find_class(module, name)
    assert issubclass(found, Placeholder) and found is not Placeholder
    made = found("touch /nowhere", key=1)
    made.__setstate__({"a": 1})
    made.__setstate__(("no", "dict"))
    made.append(1)
    made["key"] = 2
    assert vars(made) == {"a": 1}


def test_a_counter_is_a_counter(tmp_path):
    torch.save({"counts": Counter("aab"), "other": slice(1)}, tmp_path / "file")
    assert load_checkpoint(str(tmp_path / "file"))["counts"] == Counter("aab")


def test_state_of_dicts_and_objects():
    scheduler = Placeholder()
    scheduler.__setstate__({"optimizer": 1, "last_epoch": 2})
    assert saved_state(scheduler) == saved_state(vars(scheduler)) == {"last_epoch": 2}
