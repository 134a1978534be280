"""One epoch of each protocol of the standard sets, by the papers' recipes, joined in one table."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import train
from datasets.base.class_split import TABLES
from evaluation.comparing.published import published_table
from evaluation.results.reports import load_results
from scripts import ensemble_scores
from tests.helpers.models.small_clip import openai_weights, random_clip

ROOT = Path(__file__).resolve().parents[2]
TRAIN, TEST = 8, 5
VOC = "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike"
VOC = [*VOC.split(), "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"]


def write_lists(folder: Path, prefix: str, names: list[str], labels: dict[str, list]) -> None:
    """Lists as they are made of official files, and a picture for each row."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    (folder / f"{prefix}_labels.txt").write_text(
        "".join(f"{name} {i}\n" for i, name in enumerate(names))
    )
    for split, rows in labels.items():
        text = ""
        for number, own in enumerate(rows):
            path = f"pictures/{split}{number}.png"
            pixels = rng.integers(0, 255, (40, 48, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / path)
            text += " ".join([path, *map(str, own)]) + "\n"
        (folder / f"{prefix}_{split}.txt").write_text(text)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    torch.save(openai_weights(random_clip("RN")), root / "clip.pt")
    everything = {"train": [[i % 20, (i + 1) % 20] for i in range(TRAIN)]}
    everything["test"] = [[i % 20, (i + 3) % 20] for i in range(TEST)]
    write_lists(root / "voc", "voc07", VOC, everything)
    for split in ("train", "test"):
        (root / f"voc/voc07_{split}_difficult.txt").write_text("")
    (root / "sentences.txt").write_text("a cat on a sofa\na bird\na cow by the sheep\n")
    kept = {}
    for name in ("coco_48_17", "coco_novel_16"):
        rows = (TABLES / f"{name}.txt").read_text().splitlines()
        kept[name] = [row.rpartition(" ")[::2] for row in rows if row and row[0] != "#"]
    names = dict.fromkeys(name for split in kept.values() for name, _ in split)
    names = [*names, *(f"other {i}" for i in range(80 - len(names)))]
    seen, unseen = ([names.index(n) for n, w in kept["coco_48_17"] if w == word]
                    for word in ("seen", "unseen"))  # fmt: skip
    novel = [names.index(name) for name, _ in kept["coco_novel_16"]]
    labels = {"train": [[seen[i], unseen[i]] for i in range(TRAIN)] + [[i] for i in novel]}
    labels["test"] = [[seen[i], unseen[i], novel[i]] for i in range(TEST)]
    write_lists(root / "coco", "coco14", names, labels)
    tags = [f"tag {i}" for i in range(6)]
    labels = {
        "train": [[i % 6, 6] for i in range(TRAIN)],
        "test": [[i % 6, 7] for i in range(TEST)],
    }
    write_lists(root / "nus_wide", "nus_wide_tags", [*tags, "sky", "zebra"], labels)
    split = "".join(f"{tag} seen\n" for tag in tags) + "sky unseen\nzebra unseen\n"
    (root / "nus_wide/nus_wide_925_81.txt").write_text(split)
    return root


def run(root: Path, dataset: str, trainer: str, recipe: str, *more: object) -> Path:
    """One epoch of a recipe, in small; returns the folder of the run."""
    output = root / "out" / f"{dataset} {trainer} {recipe}" / "seed1"
    words = ["--root", root, "--trainer", trainer, "--output-dir", output, "--seed", 1]
    words += ["--dataset-config-file", ROOT / f"configs/datasets/{dataset}.yaml"]
    words += ["--config-file", ROOT / f"configs/trainers/{trainer}/{recipe}.yaml"]
    words += ["MODEL.BACKBONE.NAME", root / "clip.pt", "INPUT.SIZE", (64, 64)]
    words += ["INPUT.CUTOUT_LEN", 20, "DATALOADER.NUM_WORKERS", 0, "OPTIM.MAX_EPOCH", 1]
    words += ["OPTIM.WARMUP_EPOCH", 0, "DATALOADER.TRAIN_X.BATCH_SIZE", 4, *more]
    train.main([str(word) for word in words])
    return output


def joined(results: list[dict], backbone: str) -> set[tuple[str, str, str]]:
    """Method, protocol and metric of rows with both figures, as if run with a backbone."""
    results = [{**result, "backbone": backbone} for result in results]
    rows = csv.DictReader(io.StringIO(published_table(results, "csv")))
    both = [row for row in rows if row["difference"] and row["classes"] == "total"]
    return {(row["method"], row["protocol"].partition(";")[0], row["metric"]) for row in both}


def test_partial_labels_texts_alone_and_their_ensemble(root, tmp_path):
    saved = ("TEST.SAVE_SCORES", "all")
    images = run(root, "voc07", "DualCoOp", "voc07_partial")
    star = run(root, "voc07", "DualCoOp", "tai_dpt", "DATASET.CLASSNAMES", "raw", *saved)
    texts = run(root, "voc07", "TaIDPT", "voc07", *saved, "DATASET.TEXTS", "../sentences.txt",
                "DATASET.TEXT_PER_IMAGE", 0, "DATASET.TEXT_TEMPLATES", 0)  # fmt: skip
    both = tmp_path / "both/seed1"
    words = [star, texts, "--weight", 0.1, "--output", both]
    ensemble_scores.main(list(map(str, words)))
    results = load_results([images, star, texts, both])
    assert [r["protocol"] for r in results] == [
        *["partial 10%"] * 2,
        "text-only training",
        "partial 10% + text-only training",
    ]
    assert all(0 <= result["metrics"]["mAP"] <= 100 for result in results)
    assert {("DualCoOp", "partial 10%", "mAP"), ("DualCoOp*", "partial 10%", "mAP")} == joined(
        results, "RN101"
    )
    assert joined(results, "RN101 + RN50") == {("DualCoOp* + TaI-DPT", "partial 10%", "mAP")}
    assert joined(results, "RN50") == {("TaI-DPT", "text-only training", "mAP")}


def test_unseen_classes(root):
    coco = run(root, "coco14", "DualCoOp", "coco14_zero_shot", "TRAINER.DUALCOOP.N_CTX", 4)
    (result,) = load_results(coco)
    assert {"mAP", "mAP_seen", "mAP_unseen", "mAP_zsl", "OF1_top3_zsl"} < set(result["metrics"])
    assert joined([result], "RN50") == {
        ("DualCoOp", "48/17 ZSL", "mAP"),
        ("DualCoOp", "48/17 ZSL", "OF1_top3"),
        ("DualCoOp", "48/17 GZSL", "mAP"),
        ("DualCoOp", "48/17 GZSL", "OP_top3"),
    }
    drawn = ("TRAINER.DUALCOOP.CLASSES_PER_STEP", 3, "TRAINER.DUALCOOP.N_CTX", 4)
    (result,) = load_results(run(root, "nus_wide", "DualCoOp", "nus_wide_zero_shot", *drawn))
    assert len(result["per_class"]) == 8
    assert joined([result], "RN50") == {("DualCoOp", "925/81 ZSL", "mAP")}


def test_few_shots_of_novel_classes(root):
    few = ("DATASET.CLASS_SPLIT", "coco_novel_16", "DATASET.NUM_SHOTS", 1)
    coop = run(root, "coco14", "CoOp", "recommended", *few)
    (result,) = load_results(coop)
    assert len(result["per_class"]) == 16
    assert joined([result], "any") == {("CoOp", "16 novel classes, 1-shot", "mAP")}
