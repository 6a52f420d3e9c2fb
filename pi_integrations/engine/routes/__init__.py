"""HTTP to services and back, nothing else."""
