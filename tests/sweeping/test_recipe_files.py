from __future__ import annotations

import pytest

from common.readers.yaml_files import read_yaml
from sweeping.recipe_files import keep_text, recipe_text


def test_a_recipe_stands_alone_with_its_changes(tmp_path):
    (tmp_path / "base.yaml").write_text("OPTIM:\n  LR: 1e-5\n  NAME: sgd\n")
    (tmp_path / "own.yaml").write_text("_BASE_: [base.yaml]\nTRAINER:\n  LOSS:\n    NAME: asl\n")
    changes = {"OPTIM.LR": 2e-5, "TRAINER.COOP.CTX_INIT": "", "TRAINER.COOP.COSINE_OFFSET": "off"}
    text = recipe_text(tmp_path / "own.yaml", changes, "CoOp: trial 3.")
    keep_text(tmp_path / "new.yaml", text)
    assert text.startswith("# CoOp: trial 3.\n")
    assert read_yaml(tmp_path / "new.yaml") == {
        "OPTIM": {"LR": 2e-5, "NAME": "sgd"},
        "TRAINER": {"LOSS": {"NAME": "asl"}, "COOP": {"CTX_INIT": "", "COSINE_OFFSET": "off"}},
    }
    keep_text(tmp_path / "new.yaml", text)
    with pytest.raises(ValueError, match="holds another recipe"):
        keep_text(tmp_path / "new.yaml", recipe_text(None, changes, "CoOp: trial 3."))
