"""Evaluation: scores, their intervals and calibration, and the comparison of two models."""
