"""`ctmasknet train-scans`: a head that classifies scans from predictions of their slices."""

import argparse
from pathlib import Path

from ..command_line import new_subparser
from ..engine.scan_training import train_scan_head
from ..evaluation.aggregation import levels
from ..evaluation.image_metrics import classification_metrics
from ..evaluation.prediction_table import read_predictions
from ..evaluation.rules import MEAN
from ..evaluation.scan_rules import write_scan_head
from ..modeling.scan_head import POOLS
from ..wording import NOTICE, counted

_DESCRIPTION = f"""Train a head that classifies scans from the class probabilities of their slices.

PREDICTIONS.csv is what a training or `ctmasknet evaluate` has written, or another system's file: it
has the column scan, and each slice the label of its scan. Take slices that the classifier was not
trained on, as those of validation: of its own it is too sure.

  ctmasknet train-scans output/attention/inference/val/predictions.csv --output scan_head.json
  ctmasknet evaluate --predictions output/attention/inference/test/predictions.csv \\
      --rule scan_head.json --output results
  ctmasknet predict scan.nii.gz --model output/attention --aggregation scan_head.json \\
      --output results

{NOTICE}
"""


def add_train_scans(commands: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(commands, "train-scans", _DESCRIPTION, run_train_scans)
    add = parser.add_argument
    add("predictions", type=Path, metavar="PREDICTIONS.csv")
    add("--output", type=Path, required=True, metavar="FILE.json", help="of the head")
    add(
        "--pool",
        choices=POOLS,
        default="attention",
        help="of slices: the mean or maximum of each log probability, or gated attention "
        "(default: %(default)s)",
    )
    add("--classes", nargs="+", metavar="CLASS", help="names in the order of the logits")
    add("--steps", type=int, default=500, help="of the optimiser (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the first weights (default: %(default)s)")


def run_train_scans(args: argparse.Namespace) -> None:
    """Run `ctmasknet train-scans`; a FileNotFoundError or ValueError for what is unusable."""
    if args.output.suffix != ".json":
        raise ValueError(f"--output {args.output}: expected a file .json")
    table = read_predictions(args.predictions, args.classes)
    rule = train_scan_head(table, args.pool, steps=args.steps, seed=args.seed)
    write_scan_head(args.output, rule)
    lines = []
    for name, used in ((MEAN.name, MEAN), (rule.name, rule)):
        scans = levels(table, used)[1]
        found = classification_metrics(scans.confusion(), table.class_names)
        lines.append(f"  {name}: balanced accuracy {found['balanced_accuracy']:.1%}")
    print(f"{args.output}: {rule.name} trained on {counted(len(scans.labels), 'scan')}, which it")
    print("knows; judge it on others (ctmasknet evaluate --rule).", *lines, sep="\n")
