from __future__ import annotations

import pytest

from modeling.tuning.own_weights import tune_biases, tune_last_blocks, tune_norms
from tests.helpers.models.small_clip import random_clip

# By hand, for the small CLIPs: two blocks; one block in each stage.
BIASES = ["attn.in_proj_bias", "attn.out_proj.bias", "ln_1.bias", "mlp.c_fc.bias"]
BIASES += ["mlp.c_proj.bias", "ln_2.bias"]
NORMS = [f"ln_{number}.{part}" for number in (1, 2) for part in ("weight", "bias")]
BLOCKS = [f"transformer.resblocks.{index}." for index in (0, 1)]


def test_biases_of_a_transformer():
    expected = {"ln_pre.bias", "ln_post.bias", *(b + n for b in BLOCKS for n in BIASES)}
    assert set(tune_biases(random_clip().visual).state_dict()) == expected


def test_norms_of_a_transformer():
    ends = {f"{norm}.{part}" for norm in ("ln_pre", "ln_post") for part in ("weight", "bias")}
    expected = ends | {b + n for b in BLOCKS for n in NORMS}
    assert set(tune_norms(random_clip().visual).state_dict()) == expected


def test_norms_of_a_resnet_are_its_batch_norms():
    found = set(tune_norms(random_clip("RN").visual).state_dict())
    stem = {f"bn{number}" for number in (1, 2, 3)}
    inner = {f"layer{s}.0.bn{number}" for s in (1, 2, 3, 4) for number in (1, 2, 3)}
    inner |= {f"layer{s}.0.downsample.1" for s in (1, 2, 3, 4)}
    assert found == {f"{norm}.{part}" for norm in stem | inner for part in ("weight", "bias")}


def test_the_last_block_of_a_transformer_and_what_is_behind_it():
    visual = random_clip().visual
    found = set(tune_last_blocks(visual, 1).state_dict())
    block = {BLOCKS[1] + name for name, _ in visual.transformer.resblocks[1].named_parameters()}
    assert found == block | {"ln_post.weight", "ln_post.bias", "proj"}


def test_last_blocks_of_a_resnet_are_counted_through_its_stages():
    visual = random_clip("RN").visual
    names = tune_last_blocks(visual, 2).state_dict()
    assert {name.split(".")[0] for name in names} == {"layer3", "layer4", "attnpool"}
    behind = {name for name, _ in visual.named_parameters() if name.startswith("attnpool")}
    assert behind < set(names)


def test_more_blocks_than_there_are_are_refused():
    with pytest.raises(ValueError, match="BLOCKS must be at most the tower's 2 blocks, got 3"):
        tune_last_blocks(random_clip().visual, 3)
