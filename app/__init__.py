"""The HTTP face and the command line. Speaks HTTP and pictures; torch is for the roles that cli.py starts."""

import worker  # noqa: F401 - before anything here imports redis
