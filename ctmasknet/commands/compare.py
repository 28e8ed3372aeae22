"""`ctmasknet compare`: two models on the same data, or many in a table."""

import argparse
from pathlib import Path

from ..atomic_write import atomic_write
from ..command_line import new_subparser
from ..evaluation.bootstrap import RESAMPLES, SEED
from ..evaluation.comparison import common_evaluations, compare, describe_comparison
from ..evaluation.model_zoo import find_evaluations, zoo_page
from ..evaluation.results import write_results
from ..wording import NOTICE, counted

_DESCRIPTION = f"""Say whether two models differ on the same data: paired bootstrap over patients.

  ctmasknet compare output/R18_T1_heads_BN output/R34_T1_heads_BN
  ctmasknet compare runA/inference/covidx_ct_v1_test runB/inference/covidx_ct_v1_test

Two RESULTS are folders with the results.json of a data set, as a training and `ctmasknet evaluate`
leave them, or runs, whose common data sets are all compared. The numbers are computed again from
the predictions there.

With --table any number of them, or folders with any number of them, become a table of models:

  ctmasknet compare output --table MODEL_ZOO.md

{NOTICE}
"""


def add_compare(commands: argparse._SubParsersAction) -> None:
    """Add the command to the subcommands of a parser."""
    parser = new_subparser(commands, "compare", _DESCRIPTION, run_compare)
    add = parser.add_argument
    add("results", type=Path, nargs="+", metavar="RESULTS", help="folder or results.json")
    add("--table", type=Path, metavar="FILE.md", help="write a table of all; - prints it")
    add("--output", type=Path, metavar="FILE.json", help="also write the differences as JSON")
    add("--resamples", type=int, help=f"of the bootstrap (default: {RESAMPLES})")
    add("--seed", type=int, help=f"of the bootstrap (default: {SEED})")


def run_compare(args: argparse.Namespace) -> None:
    """Run `ctmasknet compare`; raises a FileNotFoundError or ValueError for what is unusable."""
    if args.table:
        for name in ("output", "resamples", "seed"):
            if getattr(args, name) is not None:
                raise ValueError(f"--{name}: is for two models, not for a --table")
        _write_table(args.results, args.table, args.command_line)
    elif len(args.results) == 2:
        resamples = RESAMPLES if args.resamples is None else args.resamples
        seed = SEED if args.seed is None else args.seed
        first, second = args.results
        _compare(first, second, resamples, seed, args.output)
    else:
        count = counted(len(args.results), "result")
        raise ValueError(f"{count} to compare, expected two; or give --table FILE.md")


def _compare(first: Path, second: Path, resamples: int, seed: int, output: Path | None) -> None:
    found = {}
    for name, (a, b) in common_evaluations(first, second).items():
        found[name] = compare(a, b, resamples, seed)
        print(f"{name}\nA: {a}\nB: {b}\n{describe_comparison(found[name])}\n")
    if output:
        about = {"kind": "comparison", "first": str(first), "second": str(second)}
        write_results(output, found, resamples=resamples, seed=seed, **about)


def _write_table(paths: list[Path], table: Path, command: str) -> None:
    evaluations = find_evaluations(paths)
    page = zoo_page(evaluations, command)
    if str(table) == "-":
        print(page, end="")
        return
    with atomic_write(table) as partial:
        partial.write_text(page, encoding="utf-8")
    print(f"{table}: {counted(len(evaluations), 'evaluation')}")
