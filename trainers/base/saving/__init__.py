"""What a run saves and restores, and whether it belongs there."""
