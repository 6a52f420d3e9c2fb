"""The shell: `pi-integrations quickstart | score | generate | jobs | serve | worker`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line; without the `cli` extra it says how to get it."""
    try:
        from pi_integrations.cli.app import run
    except ImportError as error:
        sys.exit(f"pi-integrations needs {error.name}; run: pip install 'pi-integrations[cli,engine]'")
    run()
