"""The model file: how it is written, checked and read."""
