"""The parts that methods are made of: CLIP, encoders, prompts, captions and heads."""
