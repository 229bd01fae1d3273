"""The page at `/`: HTML, CSS and JavaScript modules without a build step."""
