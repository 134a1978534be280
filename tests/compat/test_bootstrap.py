from __future__ import annotations

import inspect
import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest
from torch.optim.lr_scheduler import LRScheduler

from compat import bootstrap

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "compat" / "dassl"

# What matters here of an installed Dassl: it needs gdown and wilds on import, mutes the logging of
# the process, and has the three defects that are repaired.
STOCK = {
    "__init__.py": "__version__ = '0.6.3'",
    "data/datasets/__init__.py": "import gdown\nfrom .dg import *",
    "data/datasets/dg/__init__.py": "from .wilds import *",
    "data/datasets/dg/wilds/__init__.py": "import wilds",
    "engine/__init__.py": """
        import logging
        import dassl.data.datasets
        from .trainer import load_checkpoint
        logging.disable(logging.WARNING)
    """,
    "engine/trainer.py": "from dassl.utils import load_checkpoint, save_checkpoint",
    "utils/__init__.py": "from .torchtools import load_checkpoint, save_checkpoint",
    "utils/torchtools.py": """
        def load_checkpoint(path):
            import torch  # here, as most of these tests can do without
            return torch.load(path)
        def save_checkpoint(state, save_dir, is_best=False, remove_module_from_keys=True,
                            model_name=""):
            import torch
            torch.save(state, f"{save_dir}/{model_name or 'model.pth.tar-' + str(state['epoch'])}")
    """,
    "optim/lr_scheduler.py": """
        from torch.optim.lr_scheduler import LRScheduler
        class _BaseWarmupScheduler(LRScheduler):
            def __init__(self, optimizer, successor, warmup_epoch, last_epoch=-1, verbose=False):
                self.successor, self.warmup_epoch = successor, warmup_epoch
                super().__init__(optimizer, last_epoch, verbose)
        class ConstantWarmupScheduler(_BaseWarmupScheduler):
            def __init__(self, optimizer, successor, warmup_epoch, cons_lr):
                self.cons_lr = cons_lr
                super().__init__(optimizer, successor, warmup_epoch, -1, False)
            def get_lr(self):
                return [self.cons_lr]
    """,
}

ALL_REPAIRS = "warm-up state, checkpoint reading, checkpoint writing"
if "verbose" not in inspect.signature(LRScheduler).parameters:  # since torch 2.7
    ALL_REPAIRS = f"warm-up constructor, {ALL_REPAIRS}"


@pytest.fixture
def stock(tmp_path):
    """Folder with a package like an installed Dassl."""
    for name, source in STOCK.items():
        path = tmp_path / "site" / "dassl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
    return tmp_path / "site"


def run(script, *paths, **environment):
    """Run a script in the checkout with these folders on the path; returns what it prints."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("LMPT_")}
    folders = os.pathsep.join(map(str, [ROOT, *paths]))
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**clean, "PYTHONPATH": folders, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


WHICH = """
    from compat.bootstrap import ensure_dassl
    first = ensure_dassl()
    import dassl
    print(first, ensure_dassl(), dassl.__file__)
"""


def has_real_dassl():
    spec = bootstrap.find_spec("dassl")
    return spec is not None and Path(spec.origin).parent != CORE


# Which one


@pytest.mark.skipif(has_real_dassl(), reason="Dassl is installed here")
def test_without_dassl_the_core_serves_its_names(tmp_path):
    (tmp_path / "dassl").mkdir()  # a mere folder of that name is no Dassl
    assert run(WHICH, tmp_path) == [f"builtin builtin {CORE / '__init__.py'}"]


def test_an_installed_dassl_is_used(stock):
    found = run(WHICH, stock, LMPT_DASSL_REPAIRS="off")
    assert found == [f"stock stock {stock / 'dassl' / '__init__.py'}"]


def test_an_editable_install_is_used_though_its_finder_comes_last(stock):
    script = f"""
        import sys
        from importlib.machinery import PathFinder

        class EditableFinder:
            @staticmethod
            def find_spec(name, path=None, target=None):
                return PathFinder.find_spec(name, [{str(stock)!r}]) if name == "dassl" else None

        sys.meta_path.append(EditableFinder)
    """
    found = run(textwrap.dedent(script) + textwrap.dedent(WHICH), LMPT_DASSL_REPAIRS="off")
    assert found == [f"stock stock {stock / 'dassl' / '__init__.py'}"]


def test_the_core_may_be_chosen_over_an_installed_dassl(stock):
    found = run(WHICH, stock, LMPT_DASSL="builtin")
    assert found == [f"builtin builtin {CORE / '__init__.py'}"]


def test_a_broken_dassl_is_an_error_and_no_reason_to_fall_back(stock):
    (stock / "dassl" / "utils" / "__init__.py").write_text("import no_such_package")
    script = """
        from compat.bootstrap import ensure_dassl
        for attempt in range(2):
            try:
                ensure_dassl()
            except ImportError as error:
                print(error)
    """
    first, second = run(script, stock)
    assert first == second
    assert "Dassl is installed, but importing it failed: ModuleNotFoundError" in first
    assert "no_such_package" in first and "LMPT_DASSL=builtin" in first


@pytest.mark.parametrize(
    ("variable", "choices"),
    [("LMPT_DASSL", "auto, stock, builtin"), ("LMPT_DASSL_REPAIRS", "on, off")],
)
def test_unknown_choices_are_refused(monkeypatch, variable, choices):
    monkeypatch.setattr(bootstrap, "_state", {})
    monkeypatch.setenv(variable, "maybe")
    with pytest.raises(ValueError, match=f"{variable} must be one of {choices}; got 'maybe'"):
        bootstrap.ensure_dassl()


def test_stock_without_dassl_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(bootstrap, "_state", {})
    monkeypatch.setattr(bootstrap, "_present_provider", lambda: None)
    monkeypatch.delitem(sys.modules, "dassl", raising=False)
    monkeypatch.setenv("LMPT_DASSL", "stock")
    with pytest.raises(ImportError, match="not installed.*pip install --no-build-isolation"):
        bootstrap.ensure_dassl()


def test_a_choice_that_comes_too_late_is_an_error(monkeypatch):
    present = bootstrap.ensure_dassl()
    other = {"stock": "builtin", "builtin": "stock"}[present]
    monkeypatch.setattr(bootstrap, "_state", {})
    monkeypatch.setenv("LMPT_DASSL", other)
    with pytest.raises(ImportError, match=f"the {present} Dassl is imported already"):
        bootstrap.ensure_dassl()
    monkeypatch.setenv("LMPT_DASSL", present)
    assert bootstrap.ensure_dassl() == present


# An installed one

REPORT = """
    import logging, sys, tempfile
    logging.disable(logging.DEBUG)
    from compat.bootstrap import dassl_banner, ensure_dassl
    ensure_dassl()
    print(dassl_banner())
    print(logging.root.manager.disable, "gdown" in sys.modules)
    print(sys.modules["dassl.data.datasets.dg.wilds"].__spec__.name)
"""


@pytest.mark.skipif(bool(find_spec("gdown") or find_spec("wilds")), reason="they are installed")
def test_optional_packages_are_stubbed_and_logging_is_left_alone(stock):
    banner, state, spec = run(REPORT, stock)
    assert banner == (f"Dassl: stock 0.6.3 at {stock / 'dassl'}; repairs: {ALL_REPAIRS}")
    assert state == "10 False"
    assert spec == "dassl.data.datasets.dg.wilds"


def test_packages_that_are_there_are_not_stubbed(stock):
    (stock / "gdown.py").write_text("print('real gdown')")
    (stock / "wilds.py").write_text("print('real wilds')")
    found = run(REPORT, stock, LMPT_DASSL_REPAIRS="off")
    assert found[:2] == ["real gdown", "real wilds"]
    assert found[2].endswith("; repairs: off")
    assert found[3] == "10 True"


def test_a_dassl_that_is_imported_already_is_repaired_everywhere(stock):
    (stock / "gdown.py").touch()
    (stock / "wilds.py").touch()
    (stock / "plugin.py").write_text("from dassl.utils import load_checkpoint as read")
    script = """
        import logging
        import dassl.engine, plugin
        import torch
        from compat.bootstrap import dassl_banner
        from compat.repairs import repair_stock
        print(dassl_banner())
        print(logging.root.manager.disable, repair_stock())
        readers = {plugin.read, dassl.engine.load_checkpoint, dassl.engine.trainer.load_checkpoint}
        readers |= {dassl.utils.load_checkpoint, dassl.utils.torchtools.load_checkpoint}
        print(len(readers), readers.pop().__module__)
        print(dassl.engine.trainer.save_checkpoint.__module__)

        from dassl.optim.lr_scheduler import ConstantWarmupScheduler
        def parts():
            optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
            cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
            return optimizer, ConstantWarmupScheduler(optimizer, cosine, 1, 1e-5)
        optimizer, scheduler = parts()
        torch.optim.lr_scheduler.LRScheduler.step(scheduler)
        state = scheduler.state_dict()
        print(type(state["successor"]).__name__, "optimizer" in state)
        optimizer, resumed = parts()
        resumed.load_state_dict(state)
        print(resumed.last_epoch, resumed.successor.optimizer is optimizer)
    """
    banner, *found = run(script, stock)
    assert banner.endswith(f"repairs: {ALL_REPAIRS}")
    modules = ["1 compat.checkpoint_reader", "compat.checkpoint_writer"]
    assert found == ["0 []", *modules, "dict False", "1 True"]


# The built-in core


def test_banner(monkeypatch):
    monkeypatch.setattr(bootstrap, "_state", {"provider": "builtin"})
    assert bootstrap.dassl_banner() == "Dassl: built-in core (compat/dassl)"


def test_spawned_workers_find_the_core(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        from compat.bootstrap import ensure_dassl
        ensure_dassl()
        import numpy as np
        from dassl.config import get_cfg_default
        from dassl.data.data_manager import build_data_loader
        from dassl.data.datasets import Datum
        from PIL import Image
        from torchvision.transforms import ToTensor

        if __name__ == "__main__":
            import multiprocessing, sys
            multiprocessing.set_start_method("spawn")
            path = sys.argv[1] + "/image.png"
            Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
            cfg = get_cfg_default()
            cfg.DATALOADER.NUM_WORKERS = 1
            items = [Datum(path, np.ones(2, np.float32))] * 3
            loader = build_data_loader(
                cfg, data_source=items, batch_size=2, tfm=ToTensor(), is_train=False
            )
            print([tuple(batch["label"].shape) for batch in loader])
        """)
    )
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "LMPT_DASSL": "builtin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stdout == "[(2, 2), (1, 2)]\n", result.stderr
