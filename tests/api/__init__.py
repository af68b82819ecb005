"""craft-ray called from Python."""
