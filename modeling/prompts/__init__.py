"""Prompts: learnt contexts, sentences for classes, the scale of logits."""
