import numpy as np
import pytest

from speak_jax.pretrained.tensors import Tensors, WeightsError


def tensors():
  return Tensors(
    {"a": np.ones((2, 3)), "b": np.zeros(2), "n": np.array(1)}, "f"
  )


def test_each_tensor_is_taken_once_as_float32():
  taken = tensors()
  assert taken.take("a", (2, 3)).dtype == np.float32
  with pytest.raises(WeightsError, match="f: a is used twice"):
    taken.take("a")
  with pytest.raises(WeightsError, match="f: unknown key b and 1 more"):
    taken.finish()
  taken.drop(["b", "n", "not there"])
  assert taken.finish() == ("b", "n")


@pytest.mark.parametrize(
  ("key", "shape", "line"),
  [
    ("c", None, "f: key c is missing"),
    ("a", (3, 2), r"f: a has shape \(2, 3\), wanted \(3, 2\)"),
    ("n", None, "f: n holds int64, no reals"),
  ],
)
def test_what_does_not_fit_is_named(key, shape, line):
  with pytest.raises(WeightsError, match=line):
    tensors().take(key, shape)


def test_a_message_is_one_short_line_whatever_the_key():
  with pytest.raises(WeightsError) as caught:
    tensors().take("x\ny\x1b" * 1000)
  assert str(caught.value).isprintable()
  assert len(str(caught.value)) == 500
