"""`teddy distill`: a recipe for the student of given teachers, and how the two compare."""
