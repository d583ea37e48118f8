"""Who is filmed: a drawn person who speaks angrily for 2.2 s."""

from data_pipelines.synthetic import render

RECIPE = render.Recipe(
  seed=3,
  split="train",
  identity=4,
  emotion=1,
  level=2,
  seconds=2.2,
  size=160,
)
