"""Corrections: `POST /v1/feedback`, their files, and what they say of the model."""
