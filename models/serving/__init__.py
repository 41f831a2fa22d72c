"""Models as a worker holds them: loaded once, called many times."""
