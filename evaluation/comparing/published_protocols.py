"""Runs in the protocols of published tables, of which a run may be none, one or two.

- A run with unseen classes has a figure in the zero-shot protocol and one in the generalised one.
- Nine runs with 10% to 90% of the labels have a mean, which papers report.
- Few-shot work on COCO's novel classes counts shots; what saw no labelled image has none.
- An ensemble with a method that saw texts alone is of the other one's protocol.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from evaluation.results.reports import RUN_KEYS, Run

__all__ = ["MEAN", "in_published_protocols"]

MEAN = "partial mean 10-90%"
_SHARES = tuple(f"partial {percent}%" for percent in range(10, 100, 10))
_UNSEEN = {"coco_48_17": "48/17", "nus_wide_925_81": "925/81"}
_NOVEL = "coco_novel_16"
_TEXTS = "text-only training"
_ZSL = "_zsl"  # ends metrics of the unseen classes by themselves
_SHARE_OF_CONFIG = re.compile(r"_?LABEL_PROPORTION0?\.\d+")  # as compare.sh names folders


def in_published_protocols(results: Sequence[Run]) -> list[Run]:
    """Return runs with protocols (and metrics) as docs/published.csv has them; means come last.

    Args:
        results: from `evaluation.results.reports.load_results`; "protocol" may be absent.
    """
    runs = [run for result in results for run in _renamed(result)]
    return runs + list(_means(runs))


def _renamed(run: Run) -> Iterator[Run]:
    """A run in the one or two protocols that its own corresponds to."""
    protocol = _of_images(run.get("protocol") or "")
    classes, _, seen = protocol.partition(" ")
    if classes in _UNSEEN:
        metrics = run["metrics"]
        own = {name.removesuffix(_ZSL): v for name, v in metrics.items() if name.endswith(_ZSL)}
        rules = protocol.partition(", ")[1:]
        for kind, figures in (("ZSL", own), ("GZSL", metrics)):
            name = "".join((f"{_UNSEEN[classes]} {kind}", *rules))
            yield {**run, "protocol": name, "metrics": figures}
    elif classes == _NOVEL:
        shots = re.match(r"(\d+) shots", seen)
        known = shots or seen.startswith(("zero-shot", _TEXTS))
        number = shots[1] if shots else "0"
        name = f"16 novel classes, {number}-shot" if known else protocol
        yield {**run, "protocol": name}
    else:
        yield {**run, "protocol": protocol}


def _of_images(protocol: str) -> str:
    """The protocol of an ensemble's member that saw images, if just one did."""
    members = protocol.split(" + ")
    saw_images = [member for member in members if _TEXTS not in member]
    return saw_images[0] if len(saw_images) == 1 else protocol


def _means(runs: Iterable[Run]) -> Iterator[Run]:
    """The mean of each metric over the nine shares of known labels, for each method and seed."""
    nine: dict[tuple, dict[str, Run]] = {}
    for run in runs:
        share, comma, rules = run["protocol"].partition(", ")
        if share in _SHARES:
            config = _SHARE_OF_CONFIG.sub("", run.get("config") or "")
            facts = tuple(run.get(key) for key in RUN_KEYS if key != "config")
            key = (*facts, config, run["seed"], comma + rules)
            nine.setdefault(key, {})[share] = run
    for (*_, config, _, rules), by_share in nine.items():
        if len(by_share) < len(_SHARES):
            continue
        figures = [run["metrics"] for run in by_share.values()]
        common = set.intersection(*map(set, figures))
        mean = {name: sum(f[name] for f in figures) / len(figures) for name in sorted(common)}
        first = by_share[_SHARES[0]]
        yield {**first, "config": config, "protocol": MEAN + rules, "metrics": mean}
