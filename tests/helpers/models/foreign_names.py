"""A CLIP's tensors as other libraries name them, written out by hand and name by name."""

from __future__ import annotations

import torch
from torch import Tensor

Tensors = dict[str, Tensor]


def hugging_faces(own: Tensors) -> Tensors:
    """As Hugging Face's CLIPModel saves a vision transformer's CLIP, old position ids included."""
    image, text = "vision_model", "text_model"
    found = {
        "logit_scale": own["logit_scale"],
        "visual_projection.weight": own["visual.proj"].T.contiguous(),
        "text_projection.weight": own["text_projection"].T.contiguous(),
        f"{image}.embeddings.class_embedding": own["visual.class_embedding"],
        f"{image}.embeddings.patch_embedding.weight": own["visual.conv1.weight"],
        f"{image}.embeddings.position_embedding.weight": own["visual.positional_embedding"],
        f"{image}.embeddings.position_ids": torch.arange(len(own["visual.positional_embedding"])),
        f"{text}.embeddings.token_embedding.weight": own["token_embedding.weight"],
        f"{text}.embeddings.position_embedding.weight": own["positional_embedding"],
        f"{text}.embeddings.position_ids": torch.arange(len(own["positional_embedding"])),
    }
    for kind in ("weight", "bias"):
        found[f"{image}.pre_layrnorm.{kind}"] = own[f"visual.ln_pre.{kind}"]
        found[f"{image}.post_layernorm.{kind}"] = own[f"visual.ln_post.{kind}"]
        found[f"{text}.final_layer_norm.{kind}"] = own[f"ln_final.{kind}"]
        for tower, prefix in ((image, "visual.transformer"), (text, "transformer")):
            layer = 0
            while f"{prefix}.resblocks.{layer}.ln_1.{kind}" in own:
                old, new = f"{prefix}.resblocks.{layer}", f"{tower}.encoder.layers.{layer}"
                joined = own[f"{old}.attn.in_proj_{kind}"]
                third = len(joined) // 3
                found[f"{new}.self_attn.q_proj.{kind}"] = joined[:third].clone()
                found[f"{new}.self_attn.k_proj.{kind}"] = joined[third : 2 * third].clone()
                found[f"{new}.self_attn.v_proj.{kind}"] = joined[2 * third :].clone()
                found[f"{new}.self_attn.out_proj.{kind}"] = own[f"{old}.attn.out_proj.{kind}"]
                found[f"{new}.layer_norm1.{kind}"] = own[f"{old}.ln_1.{kind}"]
                found[f"{new}.layer_norm2.{kind}"] = own[f"{old}.ln_2.{kind}"]
                found[f"{new}.mlp.fc1.{kind}"] = own[f"{old}.mlp.c_fc.{kind}"]
                found[f"{new}.mlp.fc2.{kind}"] = own[f"{old}.mlp.c_proj.{kind}"]
                layer += 1
    return found


def custom_text(own: Tensors) -> Tensors:
    """As open_clip's CustomTextCLIP saves any CLIP: the text tower is a module of its own."""
    shared = ("visual.", "logit_scale")
    return {
        name if name.startswith(shared) else f"text.{name}": value for name, value in own.items()
    }


def native(own: Tensors) -> Tensors:
    """As open_clip's CLIP saves any CLIP: in OpenAI's names."""
    return dict(own)
