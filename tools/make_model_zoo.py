#!/usr/bin/env python
"""Turn results files into the table of models, as Markdown.

    make_model_zoo.py output/demo --output MODEL_ZOO.md
    make_model_zoo.py runs/*/inference/*/results.json

Folders are searched for the results.json that train_net.py and evaluate_predictions.py write for
each data set. Without --output the table is printed. Research use only, not for diagnosis.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from ctmasknet.atomic_write import atomic_write
from ctmasknet.command_line import new_parser, run_script
from ctmasknet.evaluation.model_zoo import find_evaluations, zoo_page


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument(
        "paths", type=Path, nargs="+", metavar="PATH", help="folder or results.json"
    )
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the page here")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    words = ["python tools/make_model_zoo.py", *map(shlex.quote, map(str, args.paths))]
    words += ["--output", shlex.quote(str(args.output))] if args.output else []
    evaluations = find_evaluations(args.paths)
    page = zoo_page(evaluations, " ".join(words))
    if args.output:
        with atomic_write(args.output) as partial:
            partial.write_text(page, encoding="utf-8")
        count = len(evaluations)
        print(f"{args.output}: {count} evaluation{'s' * (count != 1)}")
    else:
        print(page, end="")


if __name__ == "__main__":
    run_script(main)
