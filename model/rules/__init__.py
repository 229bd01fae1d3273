"""What is known beside the model: dictionaries, patterns, and what is never a name."""
