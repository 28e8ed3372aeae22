"""The same functions as in `modeling`, faster; `accelerate` is the one entry."""

from .accelerate import ACCELERATIONS, accelerate

__all__ = ["ACCELERATIONS", "accelerate"]
