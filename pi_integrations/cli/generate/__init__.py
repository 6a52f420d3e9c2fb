"""Output of generated rows."""
