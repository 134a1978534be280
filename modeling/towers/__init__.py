"""Towers of other libraries: open_clip's with timm's, and SigLIP as Hugging Face has it."""
