"""Both ends of the queue. Speaks Redis and processes; knows no HTTP."""
