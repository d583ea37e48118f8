"""How well a photograph is moved, on clips of real people.

`clips` reads them, `methods` makes frames of them, `judges` looks at frames;
`self_driven`, `cross_driven`, `emotions` and `speed` measure, `measure` runs
all of it and `report` prints it.
"""
