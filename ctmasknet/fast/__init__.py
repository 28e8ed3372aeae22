"""The same functions as `modeling`, faster; `accelerate` is the one entry."""
