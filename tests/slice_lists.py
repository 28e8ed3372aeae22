"""Image lists of random slices, for tests in which the pictures do not matter."""

import numpy as np
from PIL import Image


def write_slices(path, count, size=64):
    """Write a CSV and beside it its slices, of three classes; returns its path."""
    generator = np.random.default_rng(count)
    rows = ["file,label,patient,scan"]
    for i in range(count):
        name = f"{path.stem}_{i}.png"
        Image.fromarray(generator.integers(0, 256, (size, size), np.uint8)).save(path.parent / name)
        rows.append(f"{name},{i % 3},P{i},S")
    path.write_text("\n".join(rows) + "\n")
    return path
