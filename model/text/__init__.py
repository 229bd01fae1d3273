"""A text: words with exact offsets, sentences, and the windows that the network reads."""
