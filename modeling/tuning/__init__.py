"""Light tuning of CLIP's image tower: a few weights learn, and it starts as the frozen tower."""
