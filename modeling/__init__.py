"""The parts that methods are made of: CLIP, prompts, encoders, views and their cache."""
