"""The tagger: from text to words, pieces, a network and a model file, and back to entities."""
