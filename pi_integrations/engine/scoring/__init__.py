"""From a scoring spec and an exchange to scores: one internal tree for both generations of the spec."""
