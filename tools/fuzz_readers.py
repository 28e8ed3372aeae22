#!/usr/bin/env python
"""Read files that are damaged, or made to do harm, by every reader of the product.

    tools/fuzz_readers.py --inputs 20000 --output DIR
    tools/fuzz_readers.py --inputs 500 --reader DICOM NRRD
    tools/fuzz_readers.py --reader DICOM --only 417      # one input again, in this process

Small whole files are made in memory and changed at random, in their bytes and in what they hold;
the same numbers give the same files. A failure is anything but the file's content, the same twice,
or an error of ours that names the file: a crash, another error, more than 10 s of the processor or
2 GiB, or another file that is written. Prints a row of docs/reliability.md for each reader;
--output gets the files that fail. Linux only.
"""

import argparse
import sys
from pathlib import Path

from reliability.readers import READERS
from reliability.trials import ERROR, RESULT, count, damaged, put, run
from tqdm import tqdm

from ctmasknet.command_line import new_parser, run_script


def _save(output: Path, reader: str, index: int, seed: int) -> Path:
    folder = output / f"{reader} {index}".replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    return put(folder, *damaged(reader, index, seed))


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--inputs", type=int, default=1000, help="files for each reader")
    parser.add_argument("--reader", nargs="+", choices=READERS, default=[*READERS], metavar="NAME")
    parser.add_argument("--output", type=Path, help="folder for the files that fail")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="of one input")
    args: argparse.Namespace = parser.parse_args()
    if args.only is not None:
        (reader,) = args.reader
        path = _save(args.output or Path("."), reader, args.only, args.seed)
        print(f"{path}: {READERS[reader].read(path)!s:.1000}")
        return 0
    failed = 0
    print(
        "| reader | inputs | read | errors that name the file | failures |\n|---|--:|--:|--:|--:|"
    )
    for reader in args.reader:
        outcomes = run(reader, args.inputs, args.seed)
        counts, failures = count(reader, tqdm(outcomes, reader, args.inputs, leave=False))
        for failure in failures:
            print(f"{reader} {failure.index}: {failure.what}", file=sys.stderr)
            if args.output:
                _save(args.output, reader, failure.index, args.seed)
        numbers = (args.inputs, counts[RESULT], counts[ERROR], len(failures))
        print(f"| {reader} |", " | ".join(f"{x:,}" for x in numbers), "|", flush=True)
        failed += len(failures)
    return failed


if __name__ == "__main__":
    run_script(lambda: sys.exit(main() and 1))
