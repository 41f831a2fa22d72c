"""Models, data sets and runs on disk. Loads no torch."""
