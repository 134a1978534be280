"""Trainable parts behind the encoders."""
