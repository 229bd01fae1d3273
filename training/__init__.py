"""How a tagger is made: corpora and recipes in, measured model files out."""
