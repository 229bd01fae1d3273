"""What a scheduler sees of a run: its directory, lock and log, its signals, its metrics and its end."""
