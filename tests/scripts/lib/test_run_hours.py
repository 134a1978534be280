"""Hours of runs, against figures of docs/performance.md and sums by hand."""

from __future__ import annotations

import re

import pytest

import train
from datasets.files.list_files import ListEntry
from scripts.lib.paper_rows import ROOT
from scripts.lib.run_hours import CACHE_SECONDS, STEP_SECONDS, cache_bytes, work_of

TRAIN = [ListEntry(f"{i}.jpg", (i % 20,), i) for i in range(130)]
TEST = [ListEntry(f"t{i}.jpg", (0,), i) for i in range(64)]


def cfg_of(trainer, *words, backbone="rn50"):
    recipe = ["--config-file", str(ROOT / "tests/helpers/plain.yaml")]
    given = ["--trainer", trainer, "--backbone", backbone, *recipe, *map(str, words)]
    return train.build_cfg(train.build_parser().parse_intermixed_args(given))


def test_figures_are_those_of_the_page():
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    for (backbone, classes), seconds in STEP_SECONDS.items():
        row = re.search(rf"\| {backbone} {classes} +\| step +\|[^|]+\| (\d+) ms", page)
        assert int(row[1]) == round(1000 * seconds)
    for backbone, seconds in CACHE_SECONDS.items():
        row = re.search(
            rf"\| {backbone} 20 +\| cache, 2 x 128 \+ 64 views[^|]+\|[^|]+\| ([\d.]+) s", page
        )
        assert float(row[1]) == seconds


def test_prompts_on_cached_features():
    epochs = ("OPTIM.MAX_EPOCH", 4, "DATALOADER.TRAIN_X.BATCH_SIZE", 64)
    work = work_of(cfg_of("LMPT", *epochs), 20, TRAIN, TEST)
    assert (work.epochs, work.steps) == (4, 4 * 3)
    cached = {}
    encoding = (2 * 130 + 64) * 17.0 / 320
    assert work.hours(2, cached) == pytest.approx((2 * 12 * 0.276 + encoding) / 3600)
    again = work_of(cfg_of("CoCoOp", *epochs), 20, TRAIN, TEST)  # the same views
    assert again.hours(1, cached) == pytest.approx(12 * 0.276 * 1.5 * 64 / 3600)
    assert cache_bytes(cached) == (2 * 130 + 64) * 1024 * 4


def test_augmented_regions_are_encoded_in_every_epoch():
    words = ("OPTIM.MAX_EPOCH", 2, "INPUT.SIZE", (448, 448), "DATALOADER.TRAIN_X.BATCH_SIZE", 32)
    cfg = cfg_of("DualCoOp", *words, "INPUT.TRANSFORMS", ["cutout", "normalize"])
    work, cached = work_of(cfg, 20, TRAIN, TEST), {}
    seconds = 3 * 10 * 2 * 0.276 + (3 * 2 * 130 + 64) * 4 * 17.0 / 320
    assert work.hours(3, cached) == pytest.approx(seconds / 3600)
    assert cache_bytes(cached) == 64 * 1024 * (4 + 2 * 14 * 14)


def test_captions_and_zero_shot():
    cfg = cfg_of("TaIDPT", "OPTIM.MAX_EPOCH", 1, "DATASET.TEXT_AS_IMAGE", True)
    work = work_of(cfg, 20, TRAIN, TEST)
    seconds = work.steps * 2 * 0.276 + 130 * 0.276 / 20 / 2 + 64 * 17.0 / 320
    assert work.hours(1, {}) == pytest.approx(seconds / 3600)
    work = work_of(cfg_of("ZeroshotCLIP"), 20, TRAIN, TEST)
    assert work.hours(1, {}) == pytest.approx(64 * 17.0 / 320 / 3600)


def test_rn101_goes_by_its_multiply_adds():
    work = work_of(cfg_of("ZeroshotCLIP", backbone="rn101"), 20, TRAIN, TEST)
    assert work.hours(1, {}) == pytest.approx(64 * 17.0 / 320 * 9.504 / 5.793 / 3600)
    one, other = (cfg_of("LMPT", backbone=name) for name in ("rn50", "rn101"))
    steps = [work_of(cfg, 20, TRAIN, TEST).step_seconds for cfg in (one, other)]
    assert steps[0] == steps[1] == pytest.approx(0.276)


def test_other_numbers_of_classes_and_of_shots():
    work = work_of(cfg_of("LMPT"), 50, TRAIN, TEST)
    assert work.step_seconds == pytest.approx((0.276 + 0.937) / 2)
    cfg = cfg_of("DualCoOp", "TRAINER.DUALCOOP.CLASSES_PER_STEP", 20)
    assert work_of(cfg, 80, TRAIN, TEST).step_seconds == pytest.approx(2 * 0.276)
    cfg = cfg_of("LMPT", "DATASET.NUM_SHOTS", 2, "DATALOADER.TRAIN_X.BATCH_SIZE", 8)
    work = work_of(cfg, 20, TRAIN, TEST)
    assert work.steps == 5 * work.epochs  # of 40 images
    cached = {}
    work.hours(1, cached)
    work_of(cfg_of("LMPT", "DATASET.NUM_SHOTS", 1), 20, TRAIN, TEST).hours(1, cached)
    assert sum(cached.values()) == 64 + 2 * 40 + 2 * 20


def test_scores_of_training_images_take_their_plain_views():
    words = ("TEST.SAVE_SCORES", "all", "INPUT.TRANSFORMS", ["cutout", "normalize"])
    saved, not_saved = ({}, {})
    work_of(cfg_of("DualCoOp", *words), 20, TRAIN, TEST).hours(1, saved)
    work_of(cfg_of("DualCoOp", *words[2:]), 20, TRAIN, TEST).hours(1, not_saved)
    assert sum(saved.values()) - sum(not_saved.values()) == len(TRAIN)


def test_nothing_is_said_of_what_was_not_measured():
    assert work_of(cfg_of("LMPT", backbone="vit_b32"), 20, TRAIN, TEST) is None
    assert work_of(cfg_of("LMPT"), 20, [], TEST) is None
