"""The pass over a matrix of weights as compiled loops, which take each weight from memory once.

The modules of this package need numba; the package itself does not, so that what it says can be asked without.

They compute what :func:`dnn2graph.streaming.moments.plain_sums` does, whose lines say it more plainly. Weights are
taken as vectors (:mod:`.vectors`), and these as numbers in float64 or as their bits (:mod:`.bits`). From there it goes
to the sums of any format (:mod:`.sums`), to those of two bytes (:mod:`.float16`, by :mod:`.counts`) and of one
(:mod:`.float8`, by :mod:`.octets`), and to the :mod:`.extremes` of all. What comes out is machine code (:mod:`.code`),
which :mod:`dnn2graph.streaming.native` keeps.
"""

NAME = "sums"  # of the function in machine code
COUNTS = {1: 16 << 8, 2: 1 << 16}  # of patterns of a byte, in 16 tables, and of two bytes
PANEL = 1 << 12  # columns summed up in one go: their sums stay in the cache
ROWS = 8  # of float8, taken at a time


def integers_for(itemsize: int) -> tuple[int, int]:
    """How many int32 the pass over weights of so many bytes needs: counts, and some for each column.

    They are zeros, and it leaves zeros.
    """
    return COUNTS.get(itemsize, 0), 2 if itemsize == 1 else 0
