"""Two models on the same data: whether one is better, how sure that is, and what changed."""
