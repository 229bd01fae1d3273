"""The endpoints, and what was found as the client asked to have it."""
