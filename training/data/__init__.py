"""Corpora: from their files to batches of sentences, in memory or on disk."""
