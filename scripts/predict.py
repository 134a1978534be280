r"""Score pictures and choose their labels, by one run, the average of several, or zero-shot CLIP.

    python scripts/predict.py PICTURES --model-dir output/LMPT
    python scripts/predict.py PICTURES --trainer ZeroshotCLIP --classes "cat,dog" --backbone vit_b16

PICTURES are files and folders. Exit status 1 means that some pictures could not be read; they are
named, and the others are predicted all the same.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tqdm import tqdm

from common.choices import check_choice
from common.files import write_text
from common.user_errors import CommandParser, run_command
from loading.decoding import cores, ordered_map
from prediction import Prediction, Predictor, TrainedModel, list_pictures, load_run, zero_shot
from prediction.annotate import annotated_paths, write_annotated
from prediction.formats import FORMATS, as_text

_ZERO_SHOT = "ZeroshotCLIP"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, predict, write."""
    args = _parser().parse_args(arguments)
    pictures = list_pictures(args.pictures)
    targets = annotated_paths(pictures.paths, args.annotated) if args.annotated else {}
    with contextlib.redirect_stdout(sys.stderr):  # standard output is for predictions
        predictor = Predictor(_models(args), args.threshold, args.top, args.batch_size, args.raw)
    for note in predictor.notes:
        _tell(note)
    if pictures.left_out:
        _tell(f"Left out: {pictures.left_out:,} files whose suffix is no picture's.")
    predictions: list[Prediction] = []
    problems: list[str] = []
    stopped = False
    done = _annotated(predictor.predict(pictures.paths), targets)
    try:
        for prediction, problem in tqdm(done, "Predict", len(pictures.paths), unit="picture"):
            predictions.append(prediction)
            problems += [problem] if problem else []
    except KeyboardInterrupt:
        stopped = True
        _tell(f"\nInterrupted after {len(predictions):,} of {len(pictures.paths):,} pictures.")
    _write(as_text(predictions, args.format), args.output)
    for problem in problems:
        _tell(problem)
    broken = sum(bool(prediction.error) for prediction in predictions)
    _tell(f"Predicted {len(predictions) - broken:,} pictures; {broken:,} could not be read.")
    return 130 if stopped else int(bool(problems))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    flag("pictures", nargs="+", metavar="PICTURES", help="picture files, or folders of them")
    flag("--model-dir", nargs="+", default=[], metavar="DIR", help="runs' folders; averaged")
    flag("--load-epoch", type=int, metavar="N", help="the runs' epoch; best or else last")
    flag("--trainer", metavar="NAME", help=f"{_ZERO_SHOT}, which needs no run")
    flag("--classes", default="", metavar="NAMES", help="class names, separated by commas")
    flag("--backbone", default="tiny", metavar="NAME", help="of zero-shot CLIP; default: tiny")
    flag("--threshold", type=float, metavar="P", help="choose the classes of scores above P")
    flag("--top", type=int, metavar="K", help="choose the K best classes, at most, if with P")
    flag("--raw", action="store_true", help="scores without the runs' calibration.json")
    flag("--format", choices=FORMATS, default="table", help="default: table")
    flag("--output", metavar="FILE", help="write there, not to standard output")
    flag("--annotated", metavar="FOLDER", help="also write pictures with their labels there")
    flag("--batch-size", type=int, metavar="B", help="pictures a forward pass")
    flag("--opts", nargs="+", default=[], metavar="KEY VALUE", help="config overrides")
    return parser


def _models(args: argparse.Namespace) -> list[TrainedModel]:
    classes = [name.strip() for name in args.classes.split(",") if name.strip()]
    if args.model_dir and args.trainer:
        raise ValueError("--model-dir and --trainer exclude each other: a run knows its trainer.")
    if args.model_dir:
        return [
            load_run(folder, args.load_epoch, args.opts, classes or None)
            for folder in args.model_dir
        ]
    if not args.trainer:
        raise ValueError(f'Give --model-dir DIR, or --trainer {_ZERO_SHOT} --classes "cat,dog".')
    check_choice("--trainer", args.trainer, [_ZERO_SHOT])
    if len(classes) < 2:
        raise ValueError(f'--trainer {_ZERO_SHOT} needs --classes "cat,dog": two names or more.')
    # CLIP's logits are all positive, so that a sigmoid of them would choose every class.
    return [zero_shot(classes, args.backbone, ["TEST.SCORE", "softmax", *args.opts])]


def _annotated(
    predictions: Iterator[Prediction], targets: dict[str, Path]
) -> Iterator[tuple[Prediction, str]]:
    """Predictions, and what is wrong with each or with its annotated picture, if anything."""

    def draw(prediction: Prediction) -> tuple[Prediction, str]:
        if prediction.error:
            return prediction, f"{prediction.path}: {prediction.error}"
        if prediction.path in targets:
            try:
                write_annotated(prediction, targets[prediction.path])
            except (OSError, ValueError) as error:
                return prediction, f"{targets[prediction.path]} was not written: {error}"
        return prediction, ""

    return ordered_map(draw, predictions, cores(), cores())


def _write(text: str, output: str | None) -> None:
    if output is None:
        sys.stdout.reconfigure(errors="backslashreplace")  # names that a terminal cannot show
        print(text, end="")
    else:
        write_text(output, text)
        _tell(f"Written to {output}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
