from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reported(shared) -> Path:
  """The folder of reported files, beside the checkout."""
  folder = shared / "data" / "reported"
  if not folder.is_dir():
    pytest.skip("no folder data/reported in shared/")
  return folder
