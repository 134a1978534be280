"""What the demo page shows of a picture, computed: scores of each model, and region maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageOps
from torch import Tensor

from common.choices import check_choice
from common.user_errors import message_of
from loading.images import PictureError, read_picture
from modeling.encoders.features import Features
from prediction.comparison import Row, sorted_rows
from prediction.other_classes import why_classes_stay, with_classes
from prediction.region_maps import draw_map, looks_at_regions, region_map, seen_part
from prediction.trained_model import TrainedModel, zero_shot

LONGEST_SIDE = 640  # pixels of the picture as shown; small ones are enlarged
_LISTS_KEPT = 8  # of class names whose text features are kept


@dataclass(frozen=True)
class SeenPicture:
    """A picture that the models have looked at.

    Attributes:
        name: of its file.
        shown: RGB, scaled to `LONGEST_SIDE`.
        features: of each model.
    """

    name: str
    shown: Image.Image
    features: tuple[Features, ...]


@dataclass(frozen=True)
class DrawnMap:
    """A region map over a picture.

    Attributes:
        image: RGB, of the size of the picture as shown.
        values: similarity of the class to each region [h, w].
    """

    image: Image.Image
    values: Tensor


class Demo:
    """Models beside each other on one picture, for class names that may be edited.

    Args:
        models: one or more.

    Attributes:
        models: with the class names that they came with.
        why_fixed: of each model, why its class names cannot be edited; "" if they can.
        with_regions: places of the models that look at regions.
    """

    def __init__(self, models: Sequence[TrainedModel]) -> None:
        self.models = tuple(models)
        self.why_fixed = [why_classes_stay(model) for model in self.models]
        self.with_regions = [i for i, model in enumerate(models) if looks_at_regions(model)]
        self._renamed = lru_cache(maxsize=_LISTS_KEPT)(self._with_names)

    def models_for(self, names: Sequence[str] | None) -> tuple[TrainedModel, ...]:
        """The models for other class names, where they can take them; None: for their own.

        Raises:
            ValueError: a name that does not fit into a prompt.
        """
        return self.models if names is None else self._renamed(tuple(names))

    def look_at(self, path: str | Path) -> SeenPicture:
        """Encode a picture with each model's image tower.

        Raises:
            ValueError: it cannot be read; one sentence with the file's name.
        """
        path = Path(path)
        try:
            picture = read_picture(path)
        except PictureError as error:
            reason = message_of(error.__cause__ or error).replace(str(path), path.name).rstrip(".")
            sentence = reason if path.name in reason else f"{path.name}: {reason}"
            raise ValueError(f"{sentence}.") from error
        features = tuple(m.features(m.transform(picture)[None]) for m in self.models)
        shown = ImageOps.contain(picture, (LONGEST_SIDE, LONGEST_SIDE))
        return SeenPicture(path.name, shown, features)

    def rows(self, picture: SeenPicture, names: Sequence[str] | None = None) -> list[Row]:
        """Every class with the score of each model."""
        models, scores = self.models_for(names), []
        for model, features in zip(models, picture.features, strict=True):
            logits = model.logits_of(features).double()
            scores.append(model.scores(logits)[0].tolist())
        return sorted_rows([model.classnames for model in models], scores)

    def map_of(
        self, picture: SeenPicture, place: int, classname: str, names: Sequence[str] | None = None
    ) -> DrawnMap:
        """Where one model sees a class.

        Args:
            picture: what is looked at.
            place: of the model, one of `with_regions`.
            classname: one of the model's.
            names: as of `models_for`.

        Raises:
            ValueError: the model knows no such class.
        """
        model = self.models_for(names)[place]
        check_choice("The class", classname, model.classnames)
        column = model.classnames.index(classname)
        values = region_map(model, picture.features[place], column)
        part = seen_part(model.cfg.INPUT, *picture.shown.size)
        return DrawnMap(draw_map(picture.shown, values, part), values)

    def _with_names(self, names: tuple[str, ...]) -> tuple[TrainedModel, ...]:
        pairs = zip(self.models, self.why_fixed, strict=True)
        return tuple(model if fixed else with_classes(model, names) for model, fixed in pairs)


def zero_shot_beside(run: TrainedModel) -> TrainedModel:
    """Zero-shot CLIP of a run's backbone, preprocessing and classes, at CLIP's own input size.

    Its scores are a softmax over the classes whatever the run's are: nothing has set off the
    similarities of CLIP, all of which a sigmoid would put near 1.
    """
    cfg = run.cfg
    backbone = cfg.MODEL.BACKBONE
    words = ["MODEL.BACKBONE.NAME", backbone.NAME, "MODEL.BACKBONE.ACTIVATION", backbone.ACTIVATION]
    words += ["TEST.SCORE", "softmax"]
    side = run.model.clip.input_size
    words += ["INPUT.SIZE", str((side, side))]
    for key in ("RESIZE", "INTERPOLATION", "TRANSFORMS", "PIXEL_MEAN", "PIXEL_STD"):
        words += [f"INPUT.{key}", str(cfg.INPUT[key])]
    return dataclasses.replace(zero_shot(run.classnames, words=words), name="zero-shot CLIP")
