"""Thresholds and calibrations that are fitted to a model's scores and kept with its run."""
