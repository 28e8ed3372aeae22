#!/usr/bin/env python
"""Train or evaluate a lesion model or a CT-Mask-Net; Detectron2's usual command line.

    tools/train_net.py --config-file configs/quick/lesion_R18_T1.yaml
    tools/train_net.py --config-file configs/quick/ctmasknet_R18_T1.yaml \\
        MODEL.WEIGHTS output/lesion_R18_T1/model_best.pth
    tools/train_net.py --config-file CONFIG --eval-only MODEL.WEIGHTS FILE.pth
    tools/train_net.py --num-gpus 2 --config-file CONFIG

Data sets (DATASETS.TRAIN, VALIDATION, TEST) are registered names or paths of COCO files (.json) or
image lists (.csv). Results land in OUTPUT_DIR/results.json. --num-gpus is the number
of processes on a machine; without GPUs they share its cores. `ctmasknet train` takes paths without
quotes. Research use only, not for diagnosis.
"""

from detectron2.engine import default_argument_parser

from ctmasknet.command_line import run_script
from ctmasknet.commands.train import train as main
from ctmasknet.engine.processes import run_processes

if __name__ == "__main__":
    parser = default_argument_parser(epilog=__doc__)
    parser.set_defaults(dist_url="auto")  # a free port: two runs on one machine do not collide
    run_script(lambda: run_processes(main, parser.parse_args()))
