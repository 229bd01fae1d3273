"""How a tagger is served over HTTP."""
