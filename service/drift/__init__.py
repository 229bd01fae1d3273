"""Drift: whether live texts still look like those that a model was measured on."""
