"""Captions as tokens, and their distance from the classes' prompts."""
