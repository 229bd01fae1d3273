"""Profiles of texts, to compare live texts with those that a model was measured on."""
