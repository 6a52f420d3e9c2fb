"""The shell: `pi-integrations quickstart | score | generate | jobs | serve | worker`.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["errors", "main", "results"]


def main() -> None:
    """Runs the command line; without the `cli` extra it says how to get it."""
    try:
        from pi_integrations.cli.app import run
    except ImportError as error:
        sys.exit(f"pi-integrations needs {error.name}; run: pip install 'pi-integrations[cli,engine]'")
    run()


def results() -> Console:
    """Standard output; coloured only when it is a terminal."""
    from rich.console import Console

    return Console(highlight=False)


def errors() -> Console:
    """Standard error, for progress and notes."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)
