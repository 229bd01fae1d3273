"""Learning: what an update reads, whom it learns from, and the state that it leaves."""
