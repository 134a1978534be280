"""Encoders of images and texts, and the features they give."""
