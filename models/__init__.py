"""Networks, checkpoints and training. Speaks tensors; knows neither HTTP nor the queue."""
