"""Weights files: what one holds, whether it can be trusted, and how it gets here."""
