#!/usr/bin/env python3
"""Convert a torchvision ResNet-18, 34 or 50 to a starting point for lesion models.

IN.pth is a state dict that you have, for example the ImageNet weights of torchvision; nothing is
downloaded. OUT.pth is for MODEL.WEIGHTS and serves every lesion config of that depth:

    python tools/convert_torchvision_backbone.py resnet18.pth R18_imagenet.pth
    python tools/train_net.py --config-file configs/lesion/R18_T1.yaml \\
        MODEL.WEIGHTS R18_imagenet.pth DATASETS.TRAIN "('lesions.json',)"
"""

from pathlib import Path

from ctmasknet.checkpoint.convert import convert_torchvision_checkpoint
from ctmasknet.command_line import new_parser, run_script


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("input", type=Path, metavar="IN.pth", help="torchvision's state dict")
    parser.add_argument("output", type=Path, metavar="OUT.pth")
    args = parser.parse_args()
    print(convert_torchvision_checkpoint(args.input, args.output))
    print(f"wrote {args.output}")


if __name__ == "__main__":
    run_script(main)
