"""Small models with random weights, and what is trained on them."""
