"""CLIP itself: weight files and their formats, architecture, precision, tokens."""
