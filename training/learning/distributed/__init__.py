"""One run in many processes, on one machine or several."""
