"""Captions as training texts: the classes that their words name."""
