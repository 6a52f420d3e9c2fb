"""`python -m pi_integrations` is `pi-integrations`."""

from pi_integrations.cli import main

main()
