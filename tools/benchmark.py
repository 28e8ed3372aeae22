#!/usr/bin/env python
"""Measure how fast the networks are, and how much memory they take.

    tools/benchmark.py                                        # as `make bench`: the short set
    tools/benchmark.py inference --config-file configs/lesion/R18_T1.yaml --batch 1 8 \\
        --threads 1 2 --precision float32 bfloat16 --peers torchvision detectron2 --stages
    tools/benchmark.py training --batch 8 --repeats 3 --out output/benchmark_training
    tools/benchmark.py growth                                 # a figure: growth.png
    tools/benchmark.py throughput --slices 2000 -- MODEL.WEIGHTS model_best.pth
    tools/benchmark.py heads                                  # 50 epochs of the image head, run
    tools/benchmark.py budget                                 # work, floor and time by stage
    tools/benchmark.py ablation                               # gain of each acceleration
    tools/benchmark.py agreement output/demo/*_R18_T1         # answers of trained models

Each contender has a process of its own, and all take turns, one step a round, so that a machine
that slows down slows all of them. Peers compute in float32: torchvision's Mask R-CNN of the same
size, one image at a time (our stand-in for the author's implementation), and Detectron2's own
layers. Weights and pixels are random unless given. Peak memory is a process's growth over its
loaded libraries, or what was allocated on the GPU. Tables are printed; FOLDER/benchmark.json has
every single time.
"""

import os

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler's own lines; read at import

from benchmark.arguments import parse_args  # noqa: E402
from benchmark.command import run  # noqa: E402

from ctmasknet.command_line import run_script  # noqa: E402
from ctmasknet.fast.malloc import keep_freed_memory  # noqa: E402

if __name__ == "__main__":
    keep_freed_memory()
    run_script(lambda: run(parse_args(__doc__)))
