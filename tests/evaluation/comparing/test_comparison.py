from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score

from evaluation.comparing.comparison import compare
from evaluation.comparing.paired_bootstrap import draw_counts
from evaluation.results.reports import load_results
from evaluation.results.saved_scores import load_scores, save_scores
from tests.helpers.runs.scored_runs import IMAGES, targets_of_all, write_run

RESAMPLES = 100
STRENGTHS = {"LMPT": 1.5, "CoOp": 1.0}
LINK = {"centre": 0.8, "width": 0.4}


@pytest.fixture
def folder(tmp_path):
    for trainer, strength in STRENGTHS.items():
        for seed in (1, 2, 3):
            run = tmp_path / trainer / "tiny" / f"seed{seed}"
            write_run(run, trainer, seed, strength, link=LINK)
    write_run(tmp_path / "Zero" / "tiny" / "seed1", "ZeroshotCLIP", 1, 0.7, epoch=0)
    return tmp_path


def naive_precision(scores, targets, images):
    """AP of each class of the resampled arrays, by scikit-learn; NaN without positives."""
    return np.array(
        [
            100 * average_precision_score(targets[images, c], scores[images, c])
            if targets[images, c].any()
            else np.nan
            for c in range(targets.shape[1])
        ]
    )


def naive_differences(folder, space, seeds):
    """[S, 1 + R, C]: each seed on the images, then on each resample, whose arrays are built."""
    targets = targets_of_all().numpy()
    (counts,) = draw_counts(IMAGES, RESAMPLES, torch.device("cpu"))
    drawn = [np.repeat(np.arange(IMAGES), weights) for weights in counts.T.long().numpy()]
    sides = []
    for trainer in STRENGTHS:
        for seed in seeds:
            path = folder / trainer / "tiny" / f"seed{seed}" / "scores.npz"
            logits = load_scores(path).logits.double()
            if space == "softmax_link":
                logits = ((logits - LINK["centre"]) / LINK["width"]).sigmoid()
            scores = (logits if space == "logit" else F.log_softmax(logits, dim=1)).numpy()
            images = [np.arange(IMAGES), *drawn]
            sides.append([naive_precision(scores, targets, of) for of in images])
    return np.array(sides[: len(seeds)]) - np.array(sides[len(seeds) :])


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize("space", ["logit", "softmax", "softmax_link"])
def test_figures_are_those_of_a_loop_over_resamples(folder, space):
    paths = [folder / t / "tiny" / f"seed{s}" for t in STRENGTHS for s in (1, 2)]
    (found,) = compare(load_results(paths), "CoOp", RESAMPLES)
    assert (found.method, found.against, found.seeds) == ("LMPT", "CoOp", (1, 2))
    assert (found.dataset, found.split, found.images) == ("VOCLT", "test", IMAGES)
    members = {"all": range(5), "head": [0, 3], "medium": [1, 4], "tail": [2]}
    pairs = [(found.groups[space][name], list(of)) for name, of in members.items()]
    pairs += [(found.classes[space][c], [c]) for c in (0, 1, 2, 4)]
    differences = naive_differences(folder, space, (1, 2))
    for uncertainty, of in pairs:
        own, *resampled = np.nanmean(differences[:, :, of], axis=2).T  # [S] each
        defined = [values for values in resampled if not np.isnan(values).any()]
        assert uncertainty.mean == pytest.approx(own.mean(), abs=1e-9)
        assert uncertainty.deviation == pytest.approx(own.std(ddof=1), abs=1e-9)
        ends = np.percentile(np.mean(defined, axis=1), [2.5, 97.5])
        images = uncertainty.images
        assert (images.low, images.high) == pytest.approx(tuple(ends), abs=1e-9)
        assert uncertainty.resamples == len(defined)
    assert found.classes[space][3] is None  # emu, of which there is no image
    assert found.classes[space][4].resamples < RESAMPLES  # yak, of which there are two


def test_seeds_may_have_test_images_of_their_own(folder, tmp_path):
    drawn, expected = tmp_path / "drawn", []
    for seed in (1, 2, 3):
        targets, precisions = targets_of_all(draw=seed).numpy(), []
        for trainer, strength in STRENGTHS.items():
            run = drawn / trainer / "tiny" / f"seed{seed}"
            logits = write_run(run, trainer, seed, strength, draw=seed)
            precisions.append(naive_precision(logits.numpy(), targets, np.arange(IMAGES)))
        expected.append(np.nanmean(precisions[0] - precisions[1]))
    (found,) = compare(load_results(drawn), "CoOp", RESAMPLES)
    over_all = found.groups["logit"]["all"]
    assert found.own_images and (found.images, found.seeds) == (IMAGES, (1, 2, 3))
    assert over_all.mean == pytest.approx(np.mean(expected), abs=1e-9)
    assert over_all.deviation == pytest.approx(np.std(expected, ddof=1), abs=1e-9)
    assert (over_all.both.low, over_all.both.high) == pytest.approx(
        (over_all.seeds.low, over_all.seeds.high)
    )
    shared = load_results([folder / "LMPT", folder / "CoOp"])
    assert not compare(shared, "CoOp", RESAMPLES)[0].own_images

    write_run(drawn / "LMPT" / "tiny" / "seed4", "LMPT", 4, 1.0, draw=3)
    write_run(drawn / "CoOp" / "tiny" / "seed4", "CoOp", 4, 1.0, draw=3)
    with pytest.raises(ValueError, match="seeds 1, 2, 3, 4 were tested on 3 lists of images"):
        compare(load_results(drawn), "CoOp", RESAMPLES)
    with pytest.raises(ValueError, match="images of the same names with different labels"):
        compare(load_results([drawn / "LMPT", folder / "CoOp"]), "CoOp", RESAMPLES)


def test_a_run_without_training_pairs_with_every_seed(folder):
    lmpt, zero = compare(load_results(folder), "CoOp", RESAMPLES)
    assert (lmpt.method, zero.method) == ("LMPT", "ZeroshotCLIP")
    assert zero.seeds == lmpt.seeds == (1, 2, 3)
    back, _ = compare(
        load_results([folder / "CoOp", folder / "Zero", folder / "LMPT"]), "ZeroshotCLIP", RESAMPLES
    )
    assert back.seeds == (1, 2, 3)
    there, here = zero.groups["logit"]["all"], back.groups["logit"]["all"]
    assert there.mean == pytest.approx(-here.mean)
    assert (there.both.low, there.both.high) == pytest.approx((-here.both.high, -here.both.low))


def test_only_seeds_of_both_are_paired(folder):
    one = [folder / run for run in ("LMPT/tiny/seed1", "LMPT/tiny/seed3", "CoOp/tiny/seed3")]
    (found,) = compare(load_results(one), "CoOp", RESAMPLES)
    assert found.seeds == (3,) and found.groups["logit"]["all"].both is None
    with pytest.raises(ValueError, match=r"LMPT \(seeds 1\) and CoOp \(seeds 3\) have no seed"):
        compare(load_results([one[0], one[2]]), "CoOp", RESAMPLES)


def test_the_one_most_alike_is_compared_with(folder):
    for backbone in ("RN101", "tiny"):
        for trainer in STRENGTHS:
            place = folder / backbone / trainer / "tiny" / "seed1"
            write_run(place, trainer, 1, 1.0, backbone=backbone)
    results = load_results([folder / "tiny", folder / "RN101"])
    found = compare(results, "CoOp", RESAMPLES)
    assert [(c.method, c.against) for c in found] == [
        ("tiny LMPT", "tiny CoOp"),
        ("RN101 LMPT", "RN101 CoOp"),
    ]
    named = compare(results, "tiny CoOp", RESAMPLES)
    assert [c.against for c in named] == ["tiny CoOp"] * 3
    odd = load_results([folder / "tiny" / "CoOp", folder / "RN101" / "CoOp", folder / "LMPT"])
    with pytest.raises(ValueError, match="could be compared with .*tiny CoOp.*RN101 CoOp"):
        compare(odd, "CoOp", RESAMPLES)


def test_what_cannot_be_compared_is_refused(folder):
    results = load_results([folder / "LMPT", folder / "CoOp"])
    with pytest.raises(ValueError, match="one of LMPT, CoOp, got 'CoOps'. Did you mean 'CoOp'"):
        compare(results, "CoOps")
    with pytest.raises(ValueError, match="no other method"):
        compare(load_results(folder / "CoOp"), "CoOp")
    path = folder / "LMPT/tiny/seed2/scores.npz"
    saved = load_scores(path)
    save_scores(path, saved.logits, saved.targets, saved.paths[::-1])
    with pytest.raises(ValueError, match="different images"):
        compare(results, "CoOp", RESAMPLES)
    with pytest.raises(ValueError, match="other classes"):
        results[0]["per_class"][0]["name"] = "lynx"
        compare(results, "CoOp", RESAMPLES)
