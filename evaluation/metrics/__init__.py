"""Metrics: average precision, thresholds, precision and recall, spread over seeds."""
