#!/usr/bin/env python
"""Train or evaluate a lesion model or a CT-Mask-Net; Detectron2's usual command line.

    tools/train_net.py --config-file configs/quick/lesion_R18_T1.yaml
    tools/train_net.py --config-file configs/quick/ctmasknet_R18_T1.yaml \\
        MODEL.WEIGHTS output/lesion_R18_T1/model_best.pth
    tools/train_net.py --config-file CONFIG --eval-only MODEL.WEIGHTS FILE.pth

Data sets (DATASETS.TRAIN, VALIDATION, TEST) are registered names or paths of COCO files (.json) or
image lists (.csv). Results land in OUTPUT_DIR/results.json. Research use only, not for diagnosis.
"""

import sys

from detectron2.engine import default_argument_parser, launch

from ctmasknet.engine import Trainer, config_from_args


def main(args):
    cfg = config_from_args(args)
    if args.eval_only:
        return Trainer.evaluate_checkpoint(cfg)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


if __name__ == "__main__":
    args = default_argument_parser(epilog=__doc__).parse_args()
    try:
        launch(
            main,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )
    except (OSError, ValueError, KeyError, FloatingPointError) as error:
        # The last line alone: a data loader's worker puts its traceback in front.
        reason = (str(error) or repr(error)).strip().splitlines()[-1]
        sys.exit(f"error: {reason.removeprefix('ValueError: ')}")
