"""The recorded runs and their plans."""
