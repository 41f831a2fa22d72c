"""Style by example: a network that reads a style off any picture, and one that paints in it."""
