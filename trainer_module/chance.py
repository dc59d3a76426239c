"""Random numbers that belong to the rows of a batch: a row gets the same ones whether the whole
batch is drawn for at once, or part by part, on one device or on several.

So views do not depend on how a batch is cut up. B rows, of which a part has b.
"""

import keras
import numpy as np
from keras import ops


class Chance(keras.random.SeedGenerator):
    """Keras' own seed generator, which can also be asked for some rows of a batch."""

    def of_rows(self, rows, count) -> "PartOfBatch":
        """Returns a seed generator for some rows, integers [b], of a batch with `count`; this one
        stays where it is.
        """
        return PartOfBatch(self.state.value, rows, count)

    def move_behind(self, part: "PartOfBatch") -> None:
        """Moves on to where drawing for the whole batch would have led."""
        self.state.assign(part.behind())


class PartOfBatch(keras.random.SeedGenerator):
    """Draws for some rows of a batch what drawing for all of them gives these rows."""

    def __init__(self, start, rows, count):
        """Takes over where to begin, and whom to draw for.

        Keras' own constructor would make a variable; here the numbers are counted in Python.

        Args:
            start: state of a `Chance`, [2] integers.
            rows: places in the batch, integers [b].
            count: B.
        """
        self.start, self.rows, self.count, self.drawn = start, rows, count, 0

    def next(self, ordered=True):
        """Returns the next seed, [2] integers."""
        seed = self.behind()
        self.drawn += 1
        return seed

    def behind(self):
        """Returns the state behind what was drawn, [2] integers."""
        return self.start + ops.cast(np.array([0, self.drawn]), self.start.dtype)


def integers(shape, limit: int, chance):
    """Draws integers in [0, limit).

    Args:
        shape: of the numbers, [b, ...] for the rows of a part.
        limit: beyond the largest.
        chance: keras.random.SeedGenerator; every call moves it on.

    Returns:
        int32 of that shape.
    """
    if not isinstance(chance, PartOfBatch):
        return keras.random.randint(shape, 0, limit, dtype="int32", seed=chance)
    of_all = keras.random.randint((chance.count, *shape[1:]), 0, limit, dtype="int32", seed=chance)
    return ops.take(of_all, chance.rows, axis=0)


def both_views(rows, count):
    """Returns the rows of the first views and then of the second, [2b], and how many rows a batch
    of B images has, 2B.

    Args:
        rows: of images, integers [b].
        count: B.
    """
    return ops.concatenate([rows, rows + count], axis=0), 2 * count
