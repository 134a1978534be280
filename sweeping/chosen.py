"""The setting that a sweep has chosen for a method: a recipe that says how it was chosen."""

from __future__ import annotations

import shlex
from pathlib import Path

from common.readers.yaml_files import read_yaml
from evaluation.metrics.output_link import choose_link, link_keys
from evaluation.results.saved_scores import load_scores
from sweeping.plan import Method, Plan
from sweeping.recipe_files import keep_text, recipe_text
from sweeping.trials import Outcome


def chosen_file(folder: Path) -> Path:
    """Where a method's chosen recipe lies, in the folder of its runs."""
    return folder / "chosen.yaml"


def chosen_trial(folder: Path) -> int | None:
    """Number of a method's chosen trial; None before the choice.

    Args:
        folder: of the method's runs.

    Raises:
        ValueError: the file is damaged.
    """
    path = chosen_file(folder)
    return _said(path)["TRIAL"] if path.is_file() else None


def write_chosen(plan: Plan, method: Method, best: Outcome) -> None:
    """Write the chosen recipe; its runs' results.json will repeat what it says of itself.

    The output link is chosen here, too, on the same validation images.

    Args:
        plan: of the sweep.
        method: the method.
        best: the trial of the highest validation mAP.

    Raises:
        ValueError: another recipe is there.
    """
    said = {
        "CHOSEN_ON": "val",
        "TRIALS": plan.trials,
        "TRIAL": best.number,
        "SCORE": plan.score,
        "MAP": round(best.value, 4),
        "SAMPLER": plan.sampler,
        "SEED": plan.seed,
    }
    changes = {**best.setting, **_link(method.folder / f"trial{best.number}" / "scores.npz")}
    changes |= {f"RECIPE.{key}": value for key, value in said.items()}
    about = f"{method.trainer}: trial {best.number} of {plan.trials}, chosen on validation images."
    if plan.overrides:
        about += f" Not in here, and needed too: {shlex.join(plan.overrides)}"
    keep_text(chosen_file(method.folder), recipe_text(method.recipe, changes, about))


def _link(scores: Path) -> dict[str, str | float]:
    """TEST.LINK_* as the trial's validation images choose it; empty without its scores."""
    if not scores.is_file():
        return {}
    saved = load_scores(scores)
    return link_keys(choose_link(saved.logits, saved.targets))


def refuse_late_trials(plan: Plan, method: Method) -> None:
    """Refuse to choose anew once the test images have been looked at.

    Raises:
        ValueError: there is a choice among another number of trials.
    """
    path = chosen_file(method.folder)
    if path.is_file() and _said(path)["TRIALS"] != plan.trials:
        raise ValueError(
            f"{path} was chosen among {_said(path)['TRIALS']} trials, and tested; --trials is "
            f"{plan.trials} now. To choose anew, move it and {method.folder / 'chosen'} away."
        )


def _said(path: Path) -> dict[str, object]:
    said = read_yaml(path).get("RECIPE")
    if not isinstance(said, dict) or not {"TRIAL", "TRIALS"} <= set(said):
        raise ValueError(f"{path} is damaged; remove it, and the same command writes it anew.")
    return said
