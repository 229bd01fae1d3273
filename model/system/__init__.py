"""What Teddy asks of the operating system: files, locks, memory, cores and signals."""
