"""Flags of the programs that work on one run."""

from __future__ import annotations

import argparse

from common.user_errors import CommandParser


def run_parser(description: str) -> CommandParser:
    """A parser with the flags that say which weights: --model-dir and --load-epoch."""
    parser = CommandParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model-dir", required=True, metavar="DIR", help="output folder of a run")
    parser.add_argument(
        "--load-epoch", type=int, metavar="N", help="its epoch; best or else last if not given"
    )
    return parser


def fit_parser(description: str) -> CommandParser:
    """The same for what is fitted to a run's scores: --split, and --opts for the config."""
    parser = run_parser(description)
    parser.add_argument("--split", choices=("val", "train"), default="val", help="default: val")
    parser.add_argument(
        "--opts", nargs="+", default=[], metavar="KEY VALUE", help="config overrides"
    )
    return parser
