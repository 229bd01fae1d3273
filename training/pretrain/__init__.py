"""Pre-training: an embedding and an encoder learn from plain text, before there are any labels."""
