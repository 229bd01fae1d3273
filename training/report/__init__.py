"""Reports of evaluations and of runs: JSON, Markdown, pictures, and one HTML page that needs nothing else."""
