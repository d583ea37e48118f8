"""The networks are as large as docs/structure.md says, and train fast."""

import jax
import jax.numpy as jnp
import pytest

from speak_jax.losses import adversarial
from speak_jax.models.discriminator import Discriminator
from speak_jax.models.generator import Generator
from speak_jax.nn.conv import conv, conv_up
from speak_jax.supervision import flops
from tests.stages import structure

# Networks of base256 are traced here.
pytestmark = pytest.mark.usefixtures("unchecked")


def test_the_page_is_up_to_date():
  assert structure.PAGE.read_text(encoding="utf-8") == structure.page(), (
    "run python -m tests.stages.structure"
  )


def test_networks_are_as_large_as_published_or_say_why():
  found = {size.name: size for size in structure.sizes()}
  for name in structure.PUBLISHED:
    assert found[name].agrees() == (not found[name].why), found[name]
  # Its parameters differ; its products must not.
  synthesis = found["StyleGAN2's synthesis, half width"]
  assert abs(synthesis.gmac / 14.9 - 1) < 0.01


def test_other_methods_are_as_large_as_published_or_say_why():
  for found in structure.other_sizes():
    if found.published:
      assert found.agrees() == (not found.why), found
      # Where products differ, parameters do not.
      assert found.params == pytest.approx(found.published[0], rel=0.01)


def test_synthesis_has_stylegans_parameters():
  """Counted layer by layer as arXiv 1912.04958 has them, less the noise."""
  channels = ((4, 512), (8, 512), (16, 512), (32, 512), (64, 256), (128, 128))
  want, before = 4 * 4 * 512, 512
  for size, width in channels:
    layers = [(3, width, width)]
    layers += [(3, before, width)] if size > 4 else []
    layers += [(1, width, 3)]
    for kernel, into, out in layers:
      want += (512 + 1) * into + kernel**2 * into * out + out
    before = width
  latents = structure.shape(len(channels), 512)
  for up in ("bilinear", "transposed"):
    params, _ = structure.trace(Generator(channels, up=up), latents)
    assert params == want


def macs(function, *args):
  return flops.count(traced(function, *args))


def test_the_count_is_right_for_known_layers():
  x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 5))
  assert macs(conv, x, kernel) == 2 * 8 * 8 * 9 * 3 * 5
  strided = lambda x, kernel: conv(x, kernel, 2)  # noqa: E731
  assert macs(strided, x, kernel) == 2 * 4 * 4 * 9 * 3 * 5
  assert macs(jnp.matmul, jnp.ones((4, 2, 3)), jnp.ones((3, 7))) == 168
  # Inside calls and recomputed blocks; four parts of 9 taps, padded to 9 x 9.
  inner = jax.checkpoint(jax.jit(conv_up))
  assert macs(inner, x, kernel) == 2 * 9 * 9 * 9 * 3 * 5
  # As often as a loop runs, where that is known.
  steps = lambda x: jax.lax.scan(lambda x, _: (x @ x, None), x, length=5)[0]  # noqa: E731
  assert macs(steps, jnp.ones((2, 2))) == 5 * 8
  loop = lambda x: jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x @ x, x)  # noqa: E731
  with pytest.raises(ValueError, match="cannot be counted"):
    macs(loop, jnp.ones((2, 2)))


def test_the_count_agrees_with_xlas():
  """Which leaves out the taps on padding."""
  name = "VGG-19 to relu5_1"
  module, args = structure.calls()[name]
  variables = jax.eval_shape(module.init, jax.random.key(0), *args)
  theirs = jax.jit(module.apply).lower(variables, *args).cost_analysis()
  ours = flops.count(structure.programs()[name][1])
  assert 0.96 < theirs["flops"] / 2 / ours < 1.0


def dilated(program) -> int:
  """Convolutions whose input is dilated, in a traced function."""
  return sum(
    set(eqn.params["lhs_dilation"]) != {1}
    for eqn in flops.equations(program)
    if eqn.primitive.name == "conv_general_dilated"
  )


def traced(function, *args):
  return jax.make_jaxpr(function)(*args).jaxpr


def test_dilation_is_found():
  x, kernel = jnp.ones((1, 8, 8, 3)), jnp.ones((3, 3, 3, 5))
  strided = lambda x: conv(x, kernel, 2).sum()  # noqa: E731
  assert dilated(traced(strided, x)) == 0
  assert dilated(traced(jax.jit(jax.grad(strided)), x)) == 1


@pytest.mark.parametrize("up", ["bilinear", "transposed"])
def test_no_dilated_input_in_the_generator_nor_in_its_gradients(up):
  model = Generator(((4, 4), (8, 4)), up=up)
  latents = jnp.ones((1, 2, 4))
  params = jax.eval_shape(model.init, jax.random.key(0), latents)
  loss = lambda params, latents: model.apply(params, latents).sum()  # noqa: E731
  assert dilated(traced(jax.grad(loss, (0, 1)), params, latents)) == 0


def test_no_dilated_input_in_the_discriminator_its_gradients_or_r1():
  model = Discriminator(width=2, scales=2, layers=2)
  frame = jnp.ones((1, 16, 16, 3))
  params = jax.eval_shape(model.init, jax.random.key(0), frame, frame)

  def loss(params, frame):
    judge = lambda x: model.apply(params, x, frame).logits  # noqa: E731
    r1 = adversarial.r1(judge, frame, jax.random.key(0))
    return judge(frame)[0].sum() + r1.sum()

  assert dilated(traced(jax.grad(loss, (0, 1)), params, frame)) == 0


def test_no_network_has_a_dilated_input_in_its_forward_pass():
  for name, (_, program) in structure.programs().items():
    assert dilated(program) == 0, name
