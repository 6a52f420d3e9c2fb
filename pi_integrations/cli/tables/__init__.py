"""What the shell prints of scores: rich renderables that fit the terminal they meet."""

from pi_integrations.cli.tables.comparison import ComparisonTable, comparison_table
from pi_integrations.cli.tables.scores import ScoreTable, score_table

__all__ = ["ComparisonTable", "ScoreTable", "comparison_table", "score_table"]
