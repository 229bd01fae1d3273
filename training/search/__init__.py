"""The search for a better recipe: a study that goes on after any kill."""
