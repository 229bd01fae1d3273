"""Names taken out of texts, and put back: see docs/redact.md."""
