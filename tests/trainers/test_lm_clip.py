from __future__ import annotations

import pytest
import torch

from losses.contrastive import contrastive_loss
from modeling.clip.loader import tokenize
from modeling.prompts.prompt_model import Batch
from tests.helpers.models.small_trainer import (
    assert_same_gradients,
    build,
    first_step,
    image_features,
    write_calm_set,
)
from tests.helpers.naive import naive_losses as naive
from tests.helpers.sets.small_set import NAMES, results
from trainers.lm_clip import LMCLIPModel

OPTIONS = ("TRAINER.LOSS.NAME", "balanced_asl", "OPTIM.NAME", "adamw", "OPTIM.LR", 1e-3)


@pytest.fixture
def make(tower, tmp_path):
    write_calm_set(tmp_path, tower)

    def make(*more, output="out"):
        return build(tmp_path, "LMCLIP", tmp_path / output, *OPTIONS, *more, tower=tower)

    return make


def label_caption(row):
    return "a photo of a " + ", ".join(n for n, y in zip(NAMES, row, strict=True) if y == 1)


def text_features(trainer, texts):
    features = trainer.clip.clip_model.encode_text(tokenize(texts))
    return features / features.norm(dim=-1, keepdim=True)


def naive_step(trainer, batch, targets, captions):
    """Logits [B, C] and the two terms, by CLIP's own methods and loops over pairs and entries."""
    images = image_features(trainer, batch)
    scale = trainer.clip.clip_model.logit_scale.exp() * trainer.model.scale.log_gain.exp()
    logits = scale * images @ text_features(trainer, [f"a photo of a {n}" for n in NAMES]).T
    pairs = scale * images @ text_features(trainer, captions).T
    contrast = torch.stack(naive.contrastive(pairs.double(), [True] * len(images))).mean()
    counts = trainer.data.class_counts.tolist()
    entries = naive.balanced_asymmetric(logits.double(), targets, counts, 1, 0.1, 9.8, 0, 0.05)
    return logits, contrast, naive.reduced(entries, "mean")


@pytest.mark.parametrize("weight", [0.0, 30.0])
def test_a_step_is_clips_loss_and_the_balanced_one_through_both_towers(weight, make):
    trainer = make("TRAINER.LMCLIP.LAMBDA", weight)
    batch, targets, logits, loss = first_step(trainer)
    captions = [label_caption(row) for row in targets]
    expected, contrast, balanced = naive_step(trainer, batch, targets, captions)
    assert torch.allclose(logits, expected, atol=1e-3)
    theirs = contrast + weight * balanced
    assert float(loss.detach()) == pytest.approx(float(theirs.detach()), rel=1e-4)
    clip_model = trainer.clip.clip_model
    # Behind a ReLU that an input of exactly 0 reaches, a gradient is 0 here and there.
    trained = [clip_model.visual.conv1.weight, clip_model.text_projection]
    trained += [clip_model.token_embedding.weight, clip_model.positional_embedding]
    trained += [clip_model.transformer.resblocks[0].mlp.c_fc.weight, trainer.model.scale.log_gain]
    assert_same_gradients(loss, theirs, trained)


def test_captions_are_the_labels_names_or_the_data_sets(make):
    trainer = make()
    rows = trainer.data.targets
    assert trainer.model.captions.texts == [label_caption(row) for row in rows]
    given = make("TRAINER.LMCLIP.CAPTIONS", "given", output="given").model.captions.texts
    assert len(given) == len(rows) and all("on the wall" in text for text in given)


def test_an_image_without_a_label_is_in_no_pair(make):
    trainer = make()
    trainer.data.targets[2] = 0
    captions = trainer.model_arguments()["captions"]
    assert len(captions.texts) == len(trainer.data.targets) - 1
    trainer.model.captions = captions
    index = torch.tensor([1, 2, 3])
    batch = next(iter(trainer.train_loader_x))
    features = trainer.parse_batch_train(batch)[0][torch.arange(3)]
    found = trainer.model.contrast(Batch(features, None, index, torch.zeros(3).long()))
    kept = features.global_features[[0, 2]]
    texts = text_features(trainer, [label_caption(trainer.data.targets[i]) for i in (1, 3)])
    expected = contrastive_loss(trainer.model.scale(kept @ texts.t()))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_it_trains_all_of_clip_and_is_loaded_again(make, tmp_path):
    trainer = make()
    before = {n: p.detach().clone() for n, p in trainer.clip.clip_model.named_parameters()}
    trainer.train()
    learnt = {
        name
        for name, p in trainer.clip.clip_model.named_parameters()
        if not torch.equal(p, before[name])
    }
    assert {"visual.conv1.weight", "token_embedding.weight", "text_projection"} <= learnt
    assert learnt >= {n for n in before if n.startswith("transformer.") and n.endswith("weight")}
    assert "logit_scale" not in learnt  # its gain learns in its place
    assert float(trainer.model.scale.log_gain.detach()) != 0
    assert results(tmp_path / "out")["epoch"] == 4
    again = make(output="again")
    again.load_model(str(tmp_path / "out"))
    assert again.test() == pytest.approx(trainer.test())


def test_amp_trains_fp32_weights_and_half_precision_is_refused(make):
    trainer = make("TRAINER.LMCLIP.PREC", "amp", "OPTIM.MAX_EPOCH", 1)
    trainer.train()
    assert all(p.dtype is torch.float32 for p in trainer.model.learner.parameters())
    assert all(torch.isfinite(p).all() for p in trainer.model.learner.parameters())
    with pytest.raises(ValueError, match="PREC must be one of fp32, amp.*amp is as fast"):
        make("TRAINER.LMCLIP.PREC", "bf16")


def test_what_would_fail_late_or_do_nothing_is_refused(make):
    node = "TRAINER.LMCLIP"
    with pytest.raises(ValueError, match=f"{node}.TEMPLATE must hold"):
        make(f"{node}.TEMPLATE", "a photo")
    with pytest.raises(ValueError, match="CAPTIONS must be one of .*Did you mean 'labels'"):
        make(f"{node}.CAPTIONS", "label")
    with pytest.raises(ValueError, match="LAMBDA must be 0 or more, got -1"):
        make(f"{node}.LAMBDA", -1)
    with pytest.raises(ValueError, match="LMCLIP trains the whole image tower; set TRAINER.TUNE"):
        make("TRAINER.TUNE.NAME", "lora")
    trainer = make()
    model = LMCLIPModel(NAMES, trainer.clip)
    with pytest.raises(ValueError, match="built without captions"):
        model.loss(*first_step(trainer)[2:0:-1], None)
