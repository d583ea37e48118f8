"""Fits one texture of teeth to many small mouths, through a renderer.

Each mouth is drawn as `speak_jax.photograph.inner_mouth` draws it, as coarse as
its picture is, and compared with the picture. The teeth are everybody's; where
they stand, their size and the light on them are each person's own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from speak_jax import spec
from speak_jax.photograph import teeth as shape
from speak_jax.photograph.teeth import Teeth
from speak_jax.tools.train_teeth.mouths import Mouths

BLURS = (1.6, 2.4, 3.4)  # texels, of large, middling and small pictures
PIXEL_BLUR = 0.5  # px, of any picture
# What 1 of `People.warp` is: right, down, logarithms of width and height,
# slope, bow; the lower teeth right and down.
WARP = np.array([0.03, 0.03, 0.15, 0.15, 0.08, 0.12, 0.03, 0.03], np.float32)
ROBUST = 0.02  # error of a colour from which it counts by its size
OUTLIER = 0.06  # mean error of a mouth from which it counts less and less
# Weights: of differences between neighbouring texels and of the texels, as far
# as they left the start; of warps and light, as far as they left the guess.
SMOOTH, KEEP = 0.4, 2e-3
WARP_NEAR, LIGHT_NEAR = 2e-3, 3e-2
# Learning rates. A step of the textures is as long as their whole gradient
# says, or texels that no picture shows would go as far as others.
TEXTURE_RATE, PEOPLE_RATE, SHADE_RATE = 0.5, 0.04, 0.004
DECAY = 0.05  # of learning rates at the end
LIGHT = (0.63, 0.25)  # on teeth, by that of the cheeks: the guess
BRIGHTEST = 0.9  # share of people whose teeth are less bright than the most
PLACING_STEPS = 150  # for people alone


AnyArray = Array | np.ndarray


class People(NamedTuple):
  """What each of n mouths has of its own."""

  warp: Float[AnyArray, "n 8"]  # in units of WARP
  light: Float[
    AnyArray, "n 3"
  ]  # logarithm of the colour of white teeth, 0 to 1


class Fitted(NamedTuple):
  """What a fit found."""

  teeth: Teeth
  people: People
  losses: Float[np.ndarray, "steps"]


def rendered(
  teeth: Teeth, people: People, mouths: Mouths
) -> Float[Array, "n m 3"]:
  """Draws the pixels of mouths, colours from 0 to 1."""
  upper = _levels(teeth.upper)
  lower = _levels(teeth.lower)
  width = PIXEL_BLUR * mouths.pixel / shape.TEXEL
  level = jnp.abs(jnp.log(width[:, None] / np.array(BLURS))).argmin(1)

  def one(person: People, mouth: Mouths, level: Int[Array, ""]) -> Any:
    warp = person.warp * WARP
    right, down, wide, high, slope, bow, low_right, low_down = warp
    across = mouth.place[:, 0] - right
    edge = mouth.nose + teeth.below_nose + down
    fall = mouth.place[:, 1] - edge + slope * across
    fall = (fall + (shape.BOW + bow) * across**2) * jnp.exp(high)
    front = _read(upper[level], across * jnp.exp(wide), fall, shape.UPPER_TOP)
    low_across = across - low_right
    fall = mouth.place[:, 1] - mouth.lower_lip + shape.LOWER_EDGE - low_down
    fall = fall + slope * low_across - shape.LOWER_BOW * low_across**2
    behind = _read(
      lower[level], low_across * jnp.exp(wide), fall, shape.LOWER_TOP
    )
    colour = teeth.cavity * (1 - behind[:, 3:]) + behind[:, :3]
    colour = colour * (1 - front[:, 3:]) + front[:, :3]
    light = shape.light(
      across, mouth.below, mouth.above, mouth.side, teeth.shade, jnp
    )
    return colour * light * jnp.exp(person.light)

  return jax.vmap(one)(people, mouths, level)


def errors(teeth: Teeth, people: People, mouths: Mouths) -> Float[Array, "n"]:
  """Mean absolute error of each mouth, of colours from 0 to 1.

  Small ones count by their square, as Charbonnier's loss has it.
  """
  apart = rendered(teeth, people, mouths) - mouths.colour
  apart = (jnp.sqrt(apart**2 + ROBUST**2) - ROBUST).mean(-1)
  return (apart * mouths.inside).sum(-1) / (mouths.inside.sum(-1) + 1e-3)


def guess(mouths: Mouths) -> People:
  """Where teeth stand and what light they have, by all but the mouths."""
  luma = mouths.skin @ np.array(spec.LUMA, np.float32)
  light = np.log((LIGHT[0] * luma + LIGHT[1]).clip(0.15, 0.95))
  return People(
    np.zeros((len(luma), len(WARP)), np.float32),
    np.repeat(light[:, None], 3, 1).astype(np.float32),
  )


def fit(
  mouths: Mouths,
  start: Teeth,
  steps: int,
  batch: int,
  seed: int = 0,
  look: Callable[[int, Teeth], None] = lambda step, teeth: None,
) -> Fitted:
  """Learns teeth, and how each person has them.

  Args:
    mouths: Of as many people.
    start: Where learning begins, and what unseen texels stay near to.
    steps: Of Adam.
    batch: Mouths a step.
    seed: Of their choice.
    look: Is called before each step with its number, and at the end.
  """
  begun = guess(mouths)
  everybody = jax.tree.map(jnp.asarray, (begun, mouths))

  def objective(learned: tuple[Teeth, People], which: Any) -> Any:
    teeth, people = learned
    some = jax.tree.map(lambda x: x[which], (people, *everybody))
    return _loss(teeth, *some) + _strayed(teeth, start)

  kinds: Any = ("texture", "texture", "shade", "shade", "fixed", "fixed")
  both: Any = ("people", "people")
  tx = optax.multi_transform(
    {
      "texture": optax.novograd(_rate(TEXTURE_RATE, steps), b2=0.98),
      "shade": optax.adam(_rate(SHADE_RATE, steps)),
      "people": optax.adam(_rate(PEOPLE_RATE, steps), b2=0.99),
      "fixed": optax.set_to_zero(),
    },
    (Teeth(*kinds), People(*both)),
  )
  count = len(mouths.pixel)
  rng = np.random.default_rng(seed)
  chosen = (
    rng.choice(count, min(batch, count), replace=False) for _ in range(steps)
  )
  (teeth, people), losses = _minimised(
    objective, (start, begun), tx, chosen, lambda i, x: look(i, x[0])
  )
  return Fitted(teeth, people, losses)


def placed(teeth: Teeth, mouths: Mouths) -> People:
  """Finds how people have teeth that are known."""
  begun = guess(mouths)
  tx = optax.adam(_rate(PEOPLE_RATE, PLACING_STEPS), b2=0.99)
  everybody = (np.arange(len(mouths.pixel)) for _ in range(PLACING_STEPS))
  people, _ = _minimised(
    lambda people, which: _loss(teeth, people, begun, mouths),
    begun,
    tx,
    everybody,
  )
  return people


def finished(teeth: Teeth, people: People, mouths: Mouths) -> Teeth:
  """Makes front teeth white on average, and says where and how bright they are.

  Texture and people's light multiply each other: what one gains the other has
  lost.
  """
  down = people.warp[:, 1].mean() * WARP[1]
  front = teeth.upper[shape.FRONT][..., :3].mean((0, 1))
  scale = np.append(1 / front, 1)
  skin, light = (
    x @ spec.LUMA for x in (mouths.skin, np.exp(people.light) * front)
  )
  by_skin, itself = np.polyfit(skin, light, 1)
  most = np.quantile(light / skin.clip(0.02), BRIGHTEST)
  return teeth._replace(
    upper=teeth.upper * scale,
    lower=teeth.lower * scale,
    cavity=teeth.cavity / front,
    below_nose=teeth.below_nose + down,
    bright=np.array([by_skin, itself, most], np.float32),
  )


def _loss(
  teeth: Teeth, people: People, begun: People, mouths: Mouths
) -> Float[Array, ""]:
  """Mean error of some mouths, and how odd their people are."""
  each = errors(teeth, people, mouths)
  away = people.light - begun.light
  # All may be brighter or yellower than guessed: then teeth are.
  away = away - away.mean(0)
  return (
    (each / (1 + each / OUTLIER)).mean()
    + WARP_NEAR * (people.warp**2).mean()
    + LIGHT_NEAR * (away**2).mean()
  )


def _strayed(teeth: Teeth, start: Teeth) -> Float[Array, ""]:
  """How far the textures left the start, above all in their details."""
  total = jnp.zeros(())
  for row, was in ((teeth.upper, start.upper), (teeth.lower, start.lower)):
    way = row - was
    for axis in (0, 1):
      total += SMOOTH * (jnp.diff(way, axis=axis) ** 2).mean()
    total += KEEP * (way**2).mean()
  return total


def _minimised(
  objective: Callable[[Any, Any], Float[Array, ""]],
  learned: Any,
  tx: optax.GradientTransformation,
  chosen: Any,
  look: Callable[[int, Any], None] = lambda step, learned: None,
) -> tuple[Any, Float[np.ndarray, "steps"]]:
  """Goes down an objective of (learned, which mouths)."""
  learned = jax.tree.map(jnp.asarray, learned)
  state = tx.init(learned)

  @jax.jit
  def step(learned: Any, state: Any, which: Any) -> Any:
    value, slope = jax.value_and_grad(objective)(learned, which)
    change, state = tx.update(slope, state, learned)
    return optax.apply_updates(learned, change), state, value

  values = []
  for i, which in enumerate(chosen):
    look(i, learned)
    learned, state, value = step(learned, state, which)
    values.append(value)
  look(len(values), learned)
  return jax.tree.map(np.asarray, learned), np.array(values)


def _rate(rate: float, steps: int) -> optax.Schedule:
  return optax.cosine_decay_schedule(rate, steps, DECAY)


def _levels(row: Float[AnyArray, "h w 4"]) -> Float[Array, "k h w 4"]:
  """A row as coarse as pictures have it: colour times opacity, and opacity."""
  row = _blurred(row, shape.BLUR)
  opacity = jax.nn.sigmoid(row[..., 3:])
  full = jnp.concatenate([row[..., :3] * opacity, opacity], -1)
  return jnp.stack([_blurred(full, width) for width in BLURS])


def _blurred(
  row: Float[AnyArray, "h w c"], width: float
) -> Float[Array, "h w c"]:
  """Blurs a row of teeth by a Gaussian, texels."""
  down, across = (
    _gaussian(n, width, mirrored)
    for n, mirrored in ((row.shape[0], False), (row.shape[1], True))
  )
  return jnp.einsum("ih,jw,hwc->ijc", down, across, row)


def _gaussian(n: int, width: float, mirrored: bool) -> Float[np.ndarray, "n n"]:
  """A blur of n texels as a matrix; mirrored: as many lie before the first."""
  at = np.arange(n)
  kernel = np.exp(-0.5 * ((at[:, None] - at) / width) ** 2)
  if mirrored:
    kernel += np.exp(-0.5 * ((at[:, None] + at + 1) / width) ** 2)
  return (kernel / kernel.sum(1, keepdims=True)).astype(np.float32)


def _read(
  row: Float[Array, "h w 4"],
  across: Float[Array, "m"],
  down: Float[Array, "m"],
  top: float,
) -> Float[Array, "m 4"]:
  """Reads a row of teeth at places, bilinear; both halves are the same."""
  height, width, _ = row.shape
  x = jnp.clip(jnp.abs(across) / shape.TEXEL - 0.5, 0, width - 1.001)
  y = jnp.clip((down - top) / shape.TEXEL - 0.5, 0, height - 1.001)
  i, j = jnp.floor(x).astype(int), jnp.floor(y).astype(int)
  a, b = (x - i)[:, None], (y - j)[:, None]
  above = row[j, i] * (1 - a) + row[j, i + 1] * a
  return above * (1 - b) + (row[j + 1, i] * (1 - a) + row[j + 1, i + 1] * a) * b
