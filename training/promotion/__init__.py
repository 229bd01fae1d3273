"""From a run to what is served, and back: versions, history, and the step between them."""
