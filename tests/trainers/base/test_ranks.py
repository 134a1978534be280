"""One run on several ranks: what one process would have learnt, and measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import train
from evaluation.results.saved_scores import load_scores
from modeling.encoders import frozen_clip
from tests.helpers.models.small_trainer import write_calm_set
from tests.helpers.runs.ranks import on_ranks
from tests.helpers.sets.small_set import arguments

# Classes are few here: prompts are shared out all the same. Eight images a batch and five in the
# last, so that of four ranks one has no image of its own there.
_FEW = ("OPTIM.MAX_EPOCH", "2", "OPTIM.WARMUP_EPOCH", "0", "TEST.SAVE_SCORES", "True")
_AUGMENTED = ("INPUT.TRANSFORMS", "('random_resized_crop', 'random_flip', 'normalize')")
_BY_FOUR: dict[str, tuple[str, ...]] = {
    "LMPT": ("LMPT",),
    "DualCoOp": ("DualCoOp",),
    "TaIDPT": ("TaIDPT", "DATASET.TEXT_AS_IMAGE", "True"),
    "FinetuneCLIP": ("FinetuneCLIP",),
}
_RUNS = {
    **_BY_FOUR,
    "CoCoOp": ("CoCoOp", "TRAINER.COCOOP.N_CTX", "2", "TRAINER.COCOOP.CTX_INIT", ""),
    "LMCLIP": ("LMCLIP", "OPTIM.LR", "0.0001"),
    "CPRFL": ("CPRFL", "OPTIM.LR", "0.001"),
    "augmented": ("CoOp", *_AUGMENTED),
    "both towers": ("CoOp", "TRAINER.TUNE.NAME", "lora", "TRAINER.TUNE.TOWER", "both"),
    "one factor a batch": ("CoOp", "TRAINER.LOSS.DB.VARIANT", "lmpt"),
    "best epoch": ("TARP", "TEST.FINAL_MODEL", "best_val", "DATASET.VAL_FRACTION", "0.3"),
}
_PAIRS = [*((2, name) for name in _RUNS), *((4, name) for name in _BY_FOUR)]


def _run(root: Path, output: Path, trainer: str, *more: str) -> None:
    frozen_clip._PROMPTS_OF_A_RANK = 1
    train.main(arguments(root, trainer, output, *_FEW, *more))


def _run_all(root: Path, output: Path, names: Sequence[str]) -> None:
    for name in names:
        trainer, *more = _RUNS[name]
        _run(root, output / name, trainer, *more)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Folders of all runs by their number of ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    write_calm_set(folder / "set")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen_clip, "_PROMPTS_OF_A_RANK", 1)
        _run_all(folder / "set", folder / "1", list(_RUNS))
    for count, names in ((2, _RUNS), (4, _BY_FOUR)):
        on_ranks(count, _run_all, folder / "set", folder / str(count), list(names))
    return {count: folder / str(count) for count in (1, 2, 4)}


def _learnt(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = folder.glob("*/model.pth.tar-2")
    return torch.load(path, weights_only=True)["state_dict"]


def _assert_alike(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Tensors differ by rounding, which goes by the largest value of each."""
    assert expected.keys() == found.keys()
    for key, tensor in expected.items():
        bound = 5e-5 * max(tensor.abs().max().item(), 0.1)
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=bound, msg=key)


def _results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize(("count", "name"), _PAIRS)
def test_ranks_learn_what_one_process_learns(runs: dict[int, Path], count: int, name: str) -> None:
    expected, found = (_learnt(runs[n] / name) for n in (1, count))
    _assert_alike(found, expected)


@pytest.mark.parametrize(("count", "name"), _PAIRS)
@pytest.mark.parametrize("file", ["scores.npz", "scores_train.npz"])
def test_ranks_score_every_image(runs: dict[int, Path], count: int, name: str, file: str) -> None:
    expected, found = (load_scores(runs[n] / name / file) for n in (1, count))
    scale = float(expected.logits.abs().max())
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=1e-4 * scale)
    assert torch.equal(found.targets, expected.targets)
    assert found.paths == expected.paths


def test_one_rank_alone_writes(runs: dict[int, Path]) -> None:
    for name in _BY_FOUR:
        alone, together = (runs[n] / name for n in (1, 4))
        assert _names(alone) == _names(together)
        assert len(list((together / "tensorboard").iterdir())) == len(
            list((alone / "tensorboard").iterdir())
        )


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if "events" not in path.name}


def test_a_run_goes_on_with_other_ranks(runs: dict[int, Path], tmp_path: Path) -> None:
    root = runs[1].parent / "set"
    on_ranks(2, _run, root, tmp_path, "LMPT", "OPTIM.MAX_EPOCH", "2", "TRAIN.CHECKPOINT_FREQ", "1")
    (tmp_path / "prompt_learner" / "model.pth.tar-2").unlink()
    _point_to_first(tmp_path / "prompt_learner")
    on_ranks(4, _run, root, tmp_path, "LMPT", "OPTIM.MAX_EPOCH", "2", "TRAIN.CHECKPOINT_FREQ", "1")
    expected, found = _learnt(runs[1] / "LMPT"), _learnt(tmp_path)
    _assert_alike(found, expected)


def _point_to_first(folder: Path) -> None:
    (folder / "checkpoint").write_text("model.pth.tar-1\n")


def test_an_evaluation_of_ranks(runs: dict[int, Path], tmp_path: Path) -> None:
    root, folder = runs[1].parent / "set", runs[1] / "DualCoOp"
    more = ("--eval-only", "--model-dir", str(folder))
    on_ranks(2, _run, root, tmp_path, "DualCoOp", *more)
    assert _results(tmp_path)["images"] == _results(folder)["images"]
    expected, found = (load_scores(place / "scores.npz") for place in (folder, tmp_path))
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-4)


def test_a_mistake_is_every_ranks(runs: dict[int, Path], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="other settings"):
        folder = runs[2] / "DualCoOp"
        on_ranks(2, _run, runs[1].parent / "set", folder, "DualCoOp", "OPTIM.LR", "0.3")
