"""What the network looks up for a word, and how words become tensors."""
