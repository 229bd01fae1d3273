"""The processes that serve: a server, several workers, and what watches them."""
