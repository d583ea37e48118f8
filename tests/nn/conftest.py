"""Modules run compiled, as they do in a stage."""

import pytest

from tests import jitted

networks = jitted.networks


@pytest.fixture(autouse=True)
def compiled(networks):
  """For every test of this folder."""
