"""What of a run is refused before anything is trained."""

import pytest

from speak_jax.common.files import FileError
from speak_jax.training import run
from tests.stages import small


@pytest.mark.parametrize("entry", ["", "mine="])
def test_a_run_may_not_lie_in_its_data(tmp_path, entry):
  data = tmp_path / "data"
  data.mkdir()
  config = small.config(data__path=f"{entry}{data}")
  with pytest.raises(FileError, match="lies in the input"):
    run.resolved(config, data / "run")
  assert run.resolved(config, tmp_path / "run").data.path == config.data.path
