r"""Write a caption for every image of a list, with a captioning model from transformers.

    pip install transformers
    python scripts/caption_images.py data/mine/train.txt --root data/mine \
        --output data/mine/captions.txt --model Salesforce/blip-image-captioning-base

The model is a name on the Hugging Face hub or a folder: any that writes a text for an image without
a question (BLIP, BLIP-2, GIT, ViT-GPT2). Rows `path caption` are appended batch by batch. Stop it
at any time; the same command goes on with the images that have no caption yet.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

from PIL import Image
from tqdm import tqdm

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))  # until `_hide_project`

from common.files import read_whole
from common.readers.picture_files import open_picture

SHOWN_PATHS = 5

Captioner = Callable[[list[Image.Image]], list[str]]


class TransformersCaptioner:
    """A captioning model of transformers.

    Args:
        model: name on the hub, or a folder written by `save_pretrained`.
        max_tokens: longest caption in tokens.
        beams: beams of the search; 1 is greedy, more are slower and usually better.

    Raises:
        ImportError: transformers is not installed.
        OSError: there is no such model, or it cannot be downloaded.
        ValueError: the model is none that captions images.
    """

    def __init__(self, model: str, max_tokens: int, beams: int) -> None:
        try:
            import torch
            import transformers
        except ImportError as error:
            raise ImportError(
                f"captioning needs transformers ({error}). To install it: pip install transformers"
            ) from error
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # Loaded one by one, because a ViT-GPT2 folder has no processor that holds both.
        self.processor = transformers.AutoImageProcessor.from_pretrained(model)
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(model)
        network = transformers.AutoModelForImageTextToText.from_pretrained(model)
        self.network = network.to(self.device).eval()
        self.search = {"max_new_tokens": max_tokens, "num_beams": beams, "do_sample": False}

    def __call__(self, images: list[Image.Image]) -> list[str]:
        """Return the captions of B images."""
        import torch

        pixels = self.processor(images=images, return_tensors="pt")["pixel_values"]  # [B, 3, H, W]
        half = torch.autocast(self.device.type, torch.float16, self.device.type == "cuda")
        with torch.inference_mode(), half:
            tokens = self.network.generate(pixel_values=pixels.to(self.device), **self.search)
        return self.tokenizer.batch_decode(tokens, skip_special_tokens=True)  # from [B, L]


def main(
    arguments: list[str] | None = None,
    build: Callable[[str, int, int], Captioner] = TransformersCaptioner,
) -> int:
    """Run the command line.

    Args:
        arguments: words of the command line; None: those of the process.
        build: makes the captioner from --model, --max-tokens and --beams.

    Returns:
        0 if every image of the list has a caption now, otherwise 1.
    """
    args = _parser().parse_args(arguments)
    try:
        paths = read_paths(args.list)
        absent = [path for path in paths if not (args.root / path).is_file()]
        if absent:
            shown = "\n".join(f"  {args.root / path}" for path in absent[:SHOWN_PATHS])
            raise FileNotFoundError(
                f"{len(absent)} of {len(paths)} pictures are absent, beginning with\n{shown}\n"
                "--root must be the folder that the paths of the list start from."
            )
        done = captioned(args.output)
        todo = [path for path in paths if path not in done]
        print(f"{len(paths) - len(todo)} of {len(paths)} images have a caption")
        if not todo:
            return 0
        captioner = build(args.model, args.max_tokens, args.beams)
        failed = caption(todo, args.root, args.output, captioner, args.batch_size)
    except (ImportError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(todo) - len(failed)} captions added to {args.output}")
    if failed:
        shown = "\n".join(f"  {path}: {reason}" for path, reason in failed[:SHOWN_PATHS])
        print(f"{len(failed)} images got none, beginning with\n{shown}", file=sys.stderr)
    return int(bool(failed))


def read_paths(path: Path) -> list[str]:
    """Read the paths of an image list, each once, in its order; labels are not looked at.

    Raises:
        ValueError: A row is not plain UTF-8 text, or there is no row.
        OSError: the list cannot be read.
    """
    files = _list_files()
    problems = []
    paths = list(
        dict.fromkeys(files.split_path(row)[0] for _, row in files.iter_rows(path, problems))
    )
    if not paths and not problems:
        problems.append(files.Problem(0, "", "the file is empty; expected rows 'path id id ...'"))
    if problems:
        raise files.DataFileError(path, problems)
    return paths


def captioned(output: Path) -> set[str]:
    """The paths that have a caption; a last line that was cut short is removed from the file.

    Raises:
        ValueError: A row is not plain UTF-8 text.
    """
    if not output.exists():
        return set()
    content = read_whole(output)
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with output.open("r+b") as file:
            file.truncate(whole)
    files = _list_files()
    problems = []
    rows = [files.split_path(row) for _, row in files.iter_rows(output, problems)]
    if problems:
        raise files.DataFileError(output, problems)
    return {path for path, text in rows if text}


def caption(
    paths: list[str], root: Path, output: Path, captioner: Captioner, batch_size: int
) -> list[tuple[str, str]]:
    """Append the captions of pictures to a file.

    Args:
        paths: pictures, relative to `root`.
        root: their folder.
        output: where the rows go.
        captioner: makes the captions of a batch.
        batch_size: pictures given to it at once.

    Returns:
        Path and reason for each picture without a caption.
    """
    failed = []
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("ab") as file, ThreadPoolExecutor() as pool, tqdm(total=len(paths)) as bar:
        for batch in _batches(paths, batch_size):
            loaded = list(pool.map(lambda path: _load(root / path), batch))
            images = [image for image in loaded if isinstance(image, Image.Image)]
            texts = iter(captioner(images) if images else [])
            rows = []
            for path, image in zip(batch, loaded, strict=True):
                if isinstance(image, Exception):
                    failed.append((path, f"cannot be read ({image})"))
                elif text := " ".join(next(texts).split()):
                    rows.append(f"{path} {text}\n")
                else:
                    failed.append((path, "the model had nothing to say"))
            _append(file, "".join(rows))
            bar.update(len(batch))
    return failed


def _batches(paths: list[str], batch_size: int) -> Iterator[list[str]]:
    for start in range(0, len(paths), batch_size):
        yield paths[start : start + batch_size]


def _load(path: Path) -> Image.Image | Exception:
    try:
        with open_picture(path) as image:
            return image.convert("RGB")
    except Exception as error:  # a damaged file may make a decoder raise nearly anything
        return error


def _append(file: BinaryIO, rows: str) -> None:
    file.write(rows.encode())
    file.flush()
    os.fsync(file.fileno())  # what the bar shows as done stays done


@functools.cache
def _list_files() -> ModuleType:
    """Our parser of lists, found in our package `datasets`, which is then unknown again.

    It would stand in the place of Hugging Face's `datasets`, which transformers looks for. The
    package's own start, which registers data sets, is left out.
    """
    others = _take_out_datasets()
    package = ModuleType("datasets")
    package.__path__ = [str(PROJECT / "datasets")]
    sys.modules["datasets"] = package
    try:
        return importlib.import_module("datasets.files.list_files")
    finally:
        _take_out_datasets()
        sys.modules.update(others)


def _take_out_datasets() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.partition(".")[0] == "datasets"]
    return {name: sys.modules.pop(name) for name in names}


def _hide_project() -> None:
    """Take the project off sys.path, so that nobody takes our `datasets` for Hugging Face's."""
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != PROJECT]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("list", type=Path, metavar="LIST.txt", help="rows: path id id ...")
    parser.add_argument("--root", type=Path, required=True, help="where the paths start")
    parser.add_argument("--output", type=Path, required=True, help="captions file to continue")
    parser.add_argument("--model", required=True, help="name on the hub, or a folder")
    parser.add_argument("--batch-size", type=_positive, default=16, help="default: 16")
    parser.add_argument("--max-tokens", type=_positive, default=30, help="default: 30")
    parser.add_argument("--beams", type=_positive, default=3, help="default: 3")
    return parser


def _positive(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer from 1, got {word!r}")
    return int(word)


if __name__ == "__main__":
    _hide_project()
    sys.exit(main())
