"""The HTTP face and the command line. Speaks HTTP and pictures; torch is for the roles that cli.py starts."""
