"""What a run leaves behind: results.json and scores.npz, written and read."""
