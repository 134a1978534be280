"""Sweeps: equal numbers of tried settings for every method, chosen on validation images."""
