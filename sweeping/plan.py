"""What a sweep compares, and under which rules: the same for every method."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dassl.data.datasets import build_dataset
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from command_line import build_parser
from common.choices import check_choice, spelled
from common.config.config_rules import check_values
from common.config.config_values import flatten
from common.config.recipes import CONFIGS, recipe_file
from configuration import build_cfg, config_files
from sweeping.search_space import SPACES, Space, read_space
from trainers.base import PromptTrainer

SAMPLERS = ("random", "tpe", "gp")
PRUNERS = ("none", "median", "halving")
HELD_OUT = 0.2  # share of the training images, where a data set has no validation images
LOOKS = 4  # a run is this many looks long, where a pruner may end it at each but the last

_FOLDERS = ("datasets", "backbones")
# Keys that the protocol sets.
_OURS = (
    *("TEST.SPLIT", "TEST.FINAL_MODEL", "TEST.NO_TEST", "TEST.EVAL_FREQ", "TEST.SCORE"),
    *("SEED", "OUTPUT_DIR", "RESUME", "TRAINER.NAME", "DATASET.NAME", "DATASET.ROOT"),
)


@dataclass(frozen=True)
class Method:
    """A method of a sweep.

    Attributes:
        trainer: as registered.
        folder: of its runs.
        space: what is tried.
        recommended: the recommended recipe's values of the keys in `space`.
        recipe: that recipe's file; None for a method without one.
        epochs: of that recipe.
        seeds: of the runs on the test images; one where nothing is drawn.
    """

    trainer: str
    folder: Path
    space: Space
    recommended: dict[str, object]
    recipe: Path | None
    epochs: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """A sweep, as asked for.

    Args:
        dataset: a file of configs/datasets, without .yaml.
        backbone: likewise of configs/backbones.
        trainers: methods, as registered.
        trials: settings tried of each method.
        seeds: of the chosen settings' runs on the test images.
        seed: of the settings, and of their runs.
        score: space of the mAP that chooses, as TEST.SCORE; None: the data set's.
        sampler: one of `SAMPLERS`.
        pruner: one of `PRUNERS`.
        root: folder of the data sets.
        output: folder of all sweeps.
        spaces: folder of the search spaces.
        overrides: KEY VALUE KEY VALUE ..., for all runs.

    Raises:
        ValueError: a word is none of those that it may be, or a number or an override is refused.
    """

    dataset: str
    backbone: str
    trainers: tuple[str, ...]
    trials: int = 24
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    seed: int = 1
    score: str | None = None
    sampler: str = "random"
    pruner: str = "none"
    root: Path = Path("data")
    output: Path = Path("output/sweeps")
    spaces: Path = SPACES
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for kind, name in zip(_FOLDERS, (self.dataset, self.backbone), strict=True):
            check_choice(kind[:-1].upper(), name, _names(CONFIGS / kind))
        check_choice("--sampler", self.sampler, SAMPLERS)
        check_choice("--pruner", self.pruner, PRUNERS)
        known = TRAINER_REGISTRY.registered_names()
        trainers = tuple(dict.fromkeys(str(spelled(name, known)) for name in self.trainers))
        for name in trainers:
            check_choice("TRAINERS", name, known)
            if not issubclass(TRAINER_REGISTRY.get(name), PromptTrainer):
                raise ValueError(f"{name} is no method of this project, and cannot be swept.")
        object.__setattr__(self, "trainers", trainers)
        if not trainers or self.trials < 1 or not self.seeds or min(*self.seeds, self.seed) < 0:
            raise ValueError(
                "expected a method, a trial and a seed or more, and seeds of 0 or more, got "
                f"{len(trainers)} methods, {self.trials} trials, seeds {self.seeds}, {self.seed}."
            )
        for key in self.overrides[::2]:
            if key in _OURS or key.startswith("RECIPE."):
                raise ValueError(f"{key} is set by the sweep; leave it out (--help lists flags).")
        object.__setattr__(self, "score", self.score or self._data_config.TEST.SCORE)
        cfg = self._data_config.clone()
        cfg.TEST.SCORE = self.score
        check_values(cfg.TEST, "TEST")

    @property
    def name(self) -> str:
        """Of the sweeps that may share a storage's studies."""
        return f"{self.dataset}/{self.backbone}"

    @property
    def folder(self) -> Path:
        """Of the sweep's runs and tables."""
        return self.output.absolute() / self.dataset / self.backbone

    def method(self, trainer: str) -> Method:
        """A method of the sweep.

        Raises:
            ValueError: as `read_space`; or a key is both searched and set.
            FileNotFoundError: likewise.
        """
        words = [*self._words(), "--trainer", trainer, *self.overrides]
        cfg = _config(words)
        space = read_space(trainer, cfg, self.spaces)
        if both := [key for key in self.overrides[::2] if key in space]:
            raise ValueError(
                f"{both[0]} is searched in {self.spaces / trainer}.yaml. Leave it out of the "
                "command, or out of a copy of that folder (--spaces)."
            )
        values = dict(flatten(cfg))
        backbone, _ = config_files(build_parser().parse_intermixed_args(words))
        trains = TRAINER_REGISTRY.get(trainer).model_class.trains
        return Method(
            trainer,
            self.folder / trainer,
            space,
            {key: values[key] for key in space},
            recipe_file(trainer, backbone),
            cfg.OPTIM.MAX_EPOCH,
            self.seeds if trains else self.seeds[:1],
        )

    @cached_property
    def val_fraction(self) -> float:
        """DATASET.VAL_FRACTION of the trials: 0 where the data set has validation images."""
        cfg = self._data_config.clone()
        cfg.VERBOSE = False
        cfg.DATASET.TRAIN_PICTURES = cfg.DATASET.TEST_PICTURES = False
        cfg.TEST.SPLIT, cfg.SEED = "val", self.seed
        if cfg.DATASET.VAL_FRACTION > 0:
            return cfg.DATASET.VAL_FRACTION
        return 0.0 if build_dataset(cfg).val else HELD_OUT

    def trial_words(self, trainer: str, folder: Path, recipe: Path, epochs: int) -> list[str]:
        """The train.py command of one trial, which ends on validation images.

        Args:
            trainer: the method.
            folder: of the run.
            recipe: the setting, as a yaml file.
            epochs: of the run.
        """
        looks = -(-epochs // LOOKS) if self.pruner != "none" else 0
        keys = ("TEST.SPLIT", "val", "TEST.EVAL_FREQ", str(looks))
        keys += ("DATASET.VAL_FRACTION", f"{self.val_fraction:g}")
        return self._run_words(trainer, folder, recipe, self.seed, keys)

    def final_words(self, trainer: str, folder: Path, recipe: Path, seed: int) -> list[str]:
        """The train.py command of a chosen setting's run on all training and the test images."""
        keys = ("TEST.SPLIT", "test", "TEST.EVAL_FREQ", "0", "DATASET.VAL_FRACTION", "0")
        return self._run_words(trainer, folder, recipe, seed, keys)

    def rules(self) -> dict[str, object]:
        """What must agree for two commands to be one sweep; see `MethodTrials`."""
        return {
            "--seed": self.seed,
            "--score": self.score,
            "--sampler": self.sampler,
            "--pruner": self.pruner,
            "DATASET.VAL_FRACTION": self.val_fraction,
            "overrides": list(self.overrides),
        }

    def _run_words(
        self, trainer: str, folder: Path, recipe: Path, seed: int, keys: Iterable[str]
    ) -> list[str]:
        words = ["--output-dir", str(folder), "--trainer", trainer, "--seed", str(seed)]
        words += [*self._words(), "--config-file", str(recipe), *self.overrides, *keys]
        return [*words, "TEST.FINAL_MODEL", "last_step", "TEST.SCORE", str(self.score)]

    def _words(self) -> list[str]:
        """Data set and backbone, as train.py's flags."""
        files = [CONFIGS / "datasets" / f"{self.dataset}.yaml", self.root.expanduser().absolute()]
        data, root = map(str, files)
        return ["--root", root, "--dataset-config-file", data, "--backbone", self.backbone]

    @cached_property
    def _data_config(self) -> CfgNode:
        return _config([*self._words(), *self.overrides])


def _config(words: list[str]) -> CfgNode:
    return build_cfg(build_parser().parse_intermixed_args(words))


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))
