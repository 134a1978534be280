"""What a run depends on beside its config: its images, captions, class names and CLIP weights.

They are kept in the output folder as digests, so that a run does not go on with others in silence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dassl.data.datasets import Datum
from dassl.engine import TrainerBase

from common.files import MAX_BYTES, write_text
from common.items import impaths_of, targets_of
from common.readers.json_files import read_json
from trainers.base.saving.checkpoints import first_difference

_FILE = "conditions.json"
_CLIP, _CLASSES = "CLIP weights", "classes"


def conditions_of(trainer: TrainerBase) -> dict[str, Any]:
    """The conditions of a run that is about to train.

    Args:
        trainer: as built, before its first step. Trainers written for plain Dassl will do: what
            they lack is left out.

    Returns:
        By name: `{"number": int, "sha256": str}` of a list of images (their paths below the data
        set's folder, and labels) or of captions, the class names, the digest of CLIP's weights.
    """
    dataset = trainer.dm.dataset
    folder = str(getattr(dataset, "dataset_dir", "") or "")
    splits = {"training": dataset.train_x, "validation": dataset.val, "test": dataset.test}
    conditions: dict[str, Any] = {
        f"{name} images": _images(items, folder) for name, items in splits.items() if items
    }
    captions = getattr(getattr(trainer, "data", None), "captions", None)
    if captions is not None:
        conditions["captions"] = _captions(captions)
    conditions[_CLASSES] = list(dataset.classnames)
    digest = getattr(trainer, "clip_digest", None)
    return conditions if digest is None else {**conditions, _CLIP: digest}


def _images(items: Sequence[Datum], folder: str) -> dict[str, Any]:
    paths = (str(path).removeprefix(folder) for path in impaths_of(items))
    together = targets_of(items)
    if together is None:
        labels = [np.asarray([np.asarray(item.label) for item in items], dtype=np.float32)]
    else:  # a matrix [N, C] of floats would be too large
        lists = (together.present, *([together.unknown] if together.unknown else ()))
        labels = [*(part for pair in lists for part in pair), together.hidden]
    return {"number": len(items), "sha256": _sha256(paths, *labels)}


def _captions(captions: Sequence[Sequence[str]]) -> dict[str, Any]:
    return {"number": len(captions), "sha256": _sha256(map(json.dumps, captions))}


def _sha256(lines: Iterable[str], *more: np.ndarray) -> str:
    digest = hashlib.sha256()
    for number, line in enumerate(lines):
        digest.update(("\n" * (number > 0) + line).encode("utf-8", "surrogateescape"))
    for values in more:
        digest.update(np.ascontiguousarray(values))
    return digest.hexdigest()


def check_conditions(folder: Path, now: Mapping[str, Any]) -> None:
    """Refuse to go on with a run whose data or weights have changed.

    Args:
        folder: output folder whose checkpoints are gone on from.
        now: of `conditions_of`.

    Raises:
        ValueError: it holds checkpoints made under other conditions; what changed is named.
    """
    if not any(folder.glob("*/model*.pth.tar*")):
        return
    try:
        before = read_json(folder / _FILE, MAX_BYTES)
        changed = [line for name in now if (line := _change(name, before.get(name), now[name]))]
        changed += [f"{name}: none now" for name in before if name not in now]
    except FileNotFoundError:
        print(
            f"{folder} does not say which images, captions, class names and weights its "
            "checkpoints were trained on; they are not compared."
        )
        return
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        path = folder / _FILE
        raise ValueError(
            f"{path} is damaged ({error}). Remove that file alone to go on from the checkpoints "
            "without comparing what they were trained on."
        ) from error
    if changed:
        raise ValueError(
            f"{folder} holds checkpoints of a run under other conditions: {'; '.join(changed)}. "
            "Bring those back, or choose another --output-dir."
        )


def _change(name: str, before: Any, now: Any) -> str:  # noqa: ANN401 - values of a JSON file
    """What is another about one condition; "" if nothing is."""
    if before == now:
        return ""
    if before is None:
        return f"{name}: none there"
    if name == _CLIP:
        return "CLIP weights: those there were others"
    if name == _CLASSES:
        return first_difference(before, now)
    if before["number"] != now["number"]:
        return f"{name}: {before['number']:,} there, {now['number']:,} here"
    what = "texts" if name == "captions" else "files, order or labels"
    return f"{name}: as many, but their {what} are others"


def read_classes(folder: Path) -> list[str]:
    """The class names that a run left in its folder.

    Raises:
        FileNotFoundError: it left none.
        ValueError: the file is damaged.
    """
    path = folder / _FILE
    conditions = read_json(path, MAX_BYTES)
    classes = conditions.get(_CLASSES) if isinstance(conditions, dict) else None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"{path} is damaged: it holds no list of class names.")
    return classes


def write_conditions(folder: Path, conditions: Mapping[str, Any]) -> None:
    """Keep the conditions of a run in its output folder."""
    write_text(folder / _FILE, json.dumps(conditions, indent=1, ensure_ascii=False) + "\n")
