"""Is it more than chance? Null models of a network, and how far it is from them."""

from .models import KINDS, null_model
from .significance import Significance, significance

__all__ = ["KINDS", "Significance", "null_model", "significance"]
