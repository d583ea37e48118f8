import jax
import jax.numpy as jnp

from speak_jax.models.vgg import Vgg


def test_layout_is_vgg19_up_to_relu5_1():
  frames = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
  features, variables = jax.eval_shape(
    lambda x: Vgg().init_with_output(jax.random.key(0), x), frames
  )
  assert [f.shape for f in features] == [
    (2, 64, 64, 64),
    (2, 32, 32, 128),
    (2, 16, 16, 256),
    (2, 8, 8, 512),
    (2, 4, 4, 512),
  ]
  assert len(variables["params"]) == 13
  count = sum(x.size for x in jax.tree.leaves(variables))
  assert count == 12_944_960


def test_pictures_are_brought_to_imagenets_scale():
  """Mid-grey of [-1, 1] is .5, ImageNet's mean is a little below."""
  frames = jnp.zeros((1, 16, 16, 3))
  variables = Vgg().init(jax.random.key(0), frames)
  kernel = variables["params"]["conv1_1"]["kernel"]
  mean = jnp.array([0.485, 0.456, 0.406])
  inside = ((0.5 - mean) / jnp.array([0.229, 0.224, 0.225])) @ kernel.sum(
    (0, 1)
  )
  got = Vgg().apply(variables, frames)[0][0, 8, 8]
  assert jnp.allclose(got, jnp.maximum(inside, 0), atol=1e-4)


def test_widths_can_be_cut_and_sides_be_odd():
  frames = jnp.zeros((1, 35, 18, 3))
  model = Vgg(widths=((2,), (3, 4), (5,)))
  features, variables = model.init_with_output(jax.random.key(0), frames)
  assert [f.shape for f in features] == [
    (1, 35, 18, 2),
    (1, 17, 9, 3),
    (1, 8, 4, 5),
  ]
  assert set(variables["params"]) == {
    "conv1_1",
    "conv2_1",
    "conv2_2",
    "conv3_1",
  }
