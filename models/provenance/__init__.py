"""Where pictures come from: marks for those that are made here, signed credentials, and their check. Loads no torch."""
