"""The first recipe for a newcomer: what files hold, and a recipe with comments drawn from it."""
