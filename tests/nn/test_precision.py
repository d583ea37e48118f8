"""Which type a machine computes in."""

from types import SimpleNamespace

import pytest

from configs.speak import get_config
from speak_jax.models.build import build
from speak_jax.nn import precision

CPU = SimpleNamespace(platform="cpu")
TPU = SimpleNamespace(platform="tpu")


def gpu(capability: str) -> SimpleNamespace:
  return SimpleNamespace(platform="gpu", compute_capability=capability)


@pytest.mark.parametrize(
  ("device", "best"),
  [
    (CPU, "float32"),
    (TPU, "bfloat16"),
    (gpu("7.0"), "float16"),  # V100
    (gpu("7.5"), "float16"),  # T4
    (gpu("8.0"), "bfloat16"),  # A100
    (gpu("9.0"), "bfloat16"),  # H100
    (gpu("12.0"), "bfloat16"),
    (gpu("gfx90a"), "bfloat16"),
  ],
)
def test_auto_is_the_machines_best(device, best):
  assert precision.resolve("auto", device) == best
  for dtype in precision.DTYPES:
    assert precision.resolve(dtype, device) == dtype


def test_another_word_is_refused():
  with pytest.raises(ValueError, match="'float64' is not one of auto, float32"):
    build(precision.with_dtype(get_config("demo"), "float64").model)


@pytest.mark.parametrize(
  ("device", "trained", "run"),
  [
    (CPU, "bfloat16", "float32"),
    (CPU, "float32", "float32"),
    (TPU, "float16", "float32"),
    (TPU, "bfloat16", "bfloat16"),
    (TPU, "float32", "float32"),
    (gpu("7.0"), "bfloat16", "float32"),
    (gpu("7.0"), "float16", "float16"),
    (gpu("9.0"), "bfloat16", "bfloat16"),
  ],
)
def test_a_run_of_another_machine_is_run_in_what_this_one_has(
  device, trained, run
):
  config = precision.with_dtype(get_config("demo"), trained)
  assert precision.for_inference(config, device).model.dtype == run
