"""`generate`: synthetic data into a file, with an engine started here or by a service."""

from pi_integrations.cli.generate.plan import InputsPlan, PairsPlan, Plan
from pi_integrations.cli.generate.run import run_generation

__all__ = ["InputsPlan", "PairsPlan", "Plan", "run_generation"]
