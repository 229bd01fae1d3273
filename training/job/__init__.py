"""A run as schedulers see it: its directory, lock and log, its signals, metrics and end."""
