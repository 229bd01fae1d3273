"""Reports of evaluations and runs: JSON, Markdown, pictures, and one self-contained HTML page."""
