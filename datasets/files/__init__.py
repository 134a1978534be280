"""Readers of lists, captions and class frequencies."""
