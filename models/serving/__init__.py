"""Models as a worker holds them: load once, call many times."""
