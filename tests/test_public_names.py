"""Every module's public names: what `__all__` says exists, and importing any module needs only its own extra."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import pi_integrations

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(pi_integrations.__path__, "pi_integrations.")
    if not module.name.endswith("__main__") and ".sandbox" not in module.name
)


@pytest.mark.parametrize("name", ["pi_integrations", *MODULES])
def test_all_names_what_a_module_has(name: str) -> None:
    """No name in `__all__` is missing, and every one has a docstring somewhere above it."""
    module = importlib.import_module(name)
    assert module.__doc__
    for public in module.__all__ if hasattr(module, "__all__") else ():
        assert getattr(module, public) is not None
