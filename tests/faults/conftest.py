"""A lab for each file of tests: its runs share their data."""

import os
from pathlib import Path

import pytest

from tests.faults import lab as labs


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
  """Where the real command is run, beside the cache of all tests."""
  cache = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
  return labs.Lab(tmp_path_factory.mktemp("lab"), cache)
