"""How fast and how large: ours beside a torchvision peer and stock Detectron2, in one run."""
