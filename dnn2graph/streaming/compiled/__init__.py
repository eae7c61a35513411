"""The pass over a matrix of weights as compiled loops, which take each weight from memory once. Needs numba.

They compute what :func:`dnn2graph.streaming.moments.plain_sums` does, whose lines say it more plainly. Weights are
taken as vectors (:mod:`.vectors`), and these as numbers in float64 or as their bits (:mod:`.bits`). From there it goes
to the sums of any format (:mod:`.sums`), to those of float8 (:mod:`.float8`, by :mod:`.octets`), and to the
:mod:`.extremes` of all.

numba keeps what it compiled in ``__pycache__`` until the file of the outermost loop changes: who changes another one
has to delete that folder.
"""
