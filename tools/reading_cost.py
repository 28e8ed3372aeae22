#!/usr/bin/env python
"""Measure what checks cost: volumes are read by two versions of the program, in turns.

    git worktree add ../before COMMIT
    tools/reading_cost.py --before ../before P001 cap001 normal001 scan.mha

Each turn reads every volume once, in one process for each version. Prints the median of the turns'
processor time, of all threads, which other programs on the machine change less than the clock; and
the median of the ratios of each turn.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from tabulate import tabulate
from tqdm import tqdm

from ctmasknet.command_line import new_parser, run_script

HERE = Path(__file__).resolve().parents[1]
READ = """
import json, sys, time
from ctmasknet.volumes import read_volume

for path in sys.stdin:
    start = time.process_time()
    volume = read_volume(path.strip())
    print(json.dumps(time.process_time() - start), flush=True)
"""


def _reader(tree: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", READ],
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=tree,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _seconds(process: Any, path: Path) -> float:
    process.stdin.write(f"{path.resolve()}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise ValueError(f"{path}: cannot be read by one of the versions")
    return float(json.loads(answer))


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("volumes", nargs="+", type=Path, help="as predict takes them")
    parser.add_argument(
        "--before", type=Path, required=True, help="a checkout of the other version"
    )
    parser.add_argument("--turns", type=int, default=15)
    args: argparse.Namespace = parser.parse_args()
    before, after = _reader(args.before.resolve()), _reader(HERE)
    rows = []
    for path in args.volumes:
        for process in (before, after):  # loads what is loaded late, and the files
            _seconds(process, path)
        times = []
        for turn in tqdm(range(args.turns), path.name, leave=False):
            order = (before, after) if turn % 2 else (after, before)
            found = {id(process): _seconds(process, path) for process in order}
            times.append((found[id(before)], found[id(after)]))
        medians = [1000 * statistics.median(x) for x in zip(*times, strict=True)]
        change = 100 * (statistics.median(new / old for old, new in times) - 1)
        rows.append([path.name, *medians, f"{change:+.1f} %"])
    print(tabulate(rows, ["volume", "before (ms)", "after (ms)", "change"], floatfmt=".0f"))


if __name__ == "__main__":
    run_script(main)
