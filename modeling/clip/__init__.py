"""CLIP itself: weight files, names of published ones, precision, tokens."""
