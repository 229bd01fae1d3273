"""Entities as spans, and the tags that a network scores."""
