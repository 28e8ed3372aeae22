#!/usr/bin/env python
"""Print the size and cost of every lesion model and CT-Mask-Net in configs/, as Markdown.

    tools/model_table.py
    tools/model_table.py --csv models.csv
    tools/model_table.py --update README.md

Needs no data and no weights, and takes seconds on a CPU.
"""

import argparse
import sys
from pathlib import Path

from ctmasknet.engine.model_table import markdown, model_rows, update_table, write_csv

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the table as CSV")
    parser.add_argument(
        "--update",
        type=Path,
        metavar="FILE",
        help="also put the table between the marker comments of this file",
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    try:
        rows = model_rows(CONFIGS)
        print(markdown(rows), end="")
        if args.csv:
            write_csv(rows, args.csv)
        if args.update:
            update_table(args.update, markdown(rows))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
