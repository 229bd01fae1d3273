"""The recipe: everything that decides what a run does, read from one TOML file."""
