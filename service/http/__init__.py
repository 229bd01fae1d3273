"""HTTP up to the endpoints: connections, bodies, keys, and errors as answers."""
