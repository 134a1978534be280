"""Features and decoded images that are computed once."""
