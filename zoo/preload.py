"""What every process of the zoo needs. The server that they are forked from imports it once, for all of them."""

from contextlib import suppress

from . import trial  # noqa: F401
from .families import Missing, entries

with suppress(Missing):  # the command itself says so
    entries()
