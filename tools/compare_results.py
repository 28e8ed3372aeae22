#!/usr/bin/env python
"""Say whether two models differ on the same data: paired bootstrap over patients.

    compare_results.py output/R18_T1_heads_BN output/R34_T1_heads_BN
    compare_results.py runA/inference/covidx_ct_v1_test runB/inference/covidx_ct_v1_test

A and B are folders with the results.json of a data set (of train_net.py's OUTPUT_DIR/inference or
evaluate_predictions.py's --output), or runs, whose common data sets are all compared. The numbers
are computed again from the predictions there. Research use only, not for diagnosis.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.evaluation.bootstrap import RESAMPLES, SEED
from ctmasknet.evaluation.comparison import common_evaluations, compare, describe_comparison
from ctmasknet.evaluation.results import write_results


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("first", type=Path, metavar="A")
    parser.add_argument("second", type=Path, metavar="B")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=SEED, help="default: %(default)s")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write it as JSON")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    found = {}
    for name, (first, second) in common_evaluations(args.first, args.second).items():
        found[name] = compare(first, second, args.resamples, args.seed)
        print(f"{name}\nA: {first}\nB: {second}\n{describe_comparison(found[name])}\n")
    if args.output:
        about = {"kind": "comparison", "first": str(args.first), "second": str(args.second)}
        write_results(args.output, found, resamples=args.resamples, seed=args.seed, **about)


if __name__ == "__main__":
    run_script(main)
