"""Light tuning of CLIP's towers: a few weights learn, and they start as the frozen ones."""
