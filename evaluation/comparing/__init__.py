"""Differences between methods, with intervals, and published figures beside ours."""
