"""Exchanges to score, from JSONL, CSV or standard input."""

from pi_integrations.cli.rows.read import Format, parse_columns, read_rows
from pi_integrations.cli.rows.row import FIELDS, Row

__all__ = ["FIELDS", "Format", "Row", "parse_columns", "read_rows"]
