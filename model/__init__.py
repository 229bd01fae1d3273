"""What a tagger is: from text to words, pieces, a network and a model file, and back to entities."""
