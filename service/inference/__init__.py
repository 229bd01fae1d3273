"""From texts to entities: loaded models, the queue, and batches through the network."""
