"""The endpoints, and their answers in the form that the client asked for."""
