"""Training: options, data sets, the loop, and the run folder that holds all a run leaves behind."""
