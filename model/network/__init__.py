"""The network: embedding, recurrent stack and CRF, and the number formats that it runs in."""
