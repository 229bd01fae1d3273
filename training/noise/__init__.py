"""Label noise: annotations that taggers trained on the rest of the data doubt."""
