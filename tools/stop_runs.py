#!/usr/bin/env python
"""Stop small runs at random moments, and look at what they leave and at how they go on.

    tools/stop_runs.py kill --times 30 --output DIR        SIGKILL to trainings, which are resumed
    tools/stop_runs.py interrupt --times 40 --output DIR   Ctrl-C to train, predict, evaluate, audit
    tools/stop_runs.py fill --times 20 --output DIR --disk SMALL
                                                           as kill, but the disk becomes full: SMALL
                                                           is a file system of 2 GB (mount -t tmpfs)

Prints a row of docs/reliability.md for each kind of run. Failures are files that are not whole,
weights that differ in any bit from those of a run that was not stopped, another exit code, or a
traceback. Takes some 20 seconds a stop.
"""

import argparse
import random
import shutil
import signal
import sys
import time
from itertools import chain
from pathlib import Path
from typing import Any

from reliability.checks import differences, faults
from reliability.run import Run

from ctmasknet.command_line import new_parser, run_script
from ctmasknet.data.phantom import write_phantom

_SMALL = {
    "MODEL.PRECISION": "float32",
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": "60",
    "MODEL.RPN.POST_NMS_TOPK_TEST": "30",
    "MODEL.RANKED_BOXES.NUM": "8",
    "MODEL.RANKED_BOXES.FILL": "random",
    "MODEL.IMAGE_HEAD.FC_DIM": "8",
    "INPUT.MIN_SIZE_TEST": "64",
    "SOLVER.IMS_PER_BATCH": "2",
    "SOLVER.STEPS": "()",
    "SOLVER.WARMUP_ITERS": "2",
    "SOLVER.MAX_ITER": "24",
    "SOLVER.CHECKPOINT_PERIOD": "4",
    "TEST.EVAL_PERIOD": "8",
    "TEST.DETECTIONS_PER_IMAGE": "10",
    "TEST.BOOTSTRAP_RESAMPLES": "20",
}
_VARIED = {"INPUT.MIN_SIZE_TRAIN": "(64,80)", "INPUT.AUGMENT.ROTATION": "10.0"}
_KEPT = {
    "INPUT.MIN_SIZE_TRAIN": "(64,)",
    "INPUT.RANDOM_FLIP": "none",
    "MODEL.TRAINABLE": "heads",
}
_LESIONS, _CLASSES = "quick/lesion_R18_T1", "quick/ctmasknet_R18_T1"
STAGES = {
    "lesions": (_LESIONS, _VARIED),
    "classes": (_CLASSES, _VARIED),
    "classes of kept ranked boxes": (_CLASSES, _KEPT),
}
TRAININGS = [(stage, workers) for stage in STAGES for workers in (0, 2)]


class Runs:
    """Commands on phantoms in a folder, and their results without a stop."""

    def __init__(self, root: Path):
        self.root, self._finished = root, dict[Any, tuple[Path, float]]()
        self.log = root / "printed.txt"  # of the last command
        if not (root / "data").exists():
            write_phantom(root / "data", patients=9, slices=2, size=96, split=(1, 1, 1))

    def training(self, stage: str, workers: int, output: Path, *more: str) -> list[str]:
        """Return the command that trains a stage."""
        config, opts = STAGES[stage]
        kind = "lesion_merge_{}.json" if config == _LESIONS else "{}.csv"
        command = ["train", config, "--output", str(output), *more]
        for part, name in (("train", "train"), ("validation", "val"), ("test", "test")):
            command += [f"--{part}", str(self.root / "data" / kind.format(name))]
        if config == _CLASSES:
            command += ["--weights", str(self.finished("lesions", 0)[0] / "model_final.pth")]
        keys = {**_SMALL, **opts, "DATALOADER.NUM_WORKERS": str(workers)}
        return [*command, *chain.from_iterable(keys.items())]

    def finished(self, stage: str, workers: int) -> tuple[Path, float]:
        """Return the folder of a training that was not stopped, and the seconds that it took."""
        if (stage, workers) not in self._finished:
            output = self.root / f"whole {stage} {workers}"
            shutil.rmtree(output, ignore_errors=True)
            started = time.time()
            code, text = Run(self.training(stage, workers, output), self.log).end()
            if code:
                raise ValueError(f"{output}: the training failed: {text}")
            self._finished[stage, workers] = output, time.time() - started
        return self._finished[stage, workers]

    def others(self, output: Path) -> dict[str, list[str]]:
        """Return the commands that use a model, by what they do."""
        data, model = self.root / "data", str(self.finished("lesions", 0)[0])
        lists = [str(data / f"{name}.csv") for name in ("train", "val", "test")]
        test = str(data / "lesion_merge_test.json")
        end = ["--output", str(output)]
        return {
            "train": self.training("lesions", 2, output),
            "predict": ["predict", str(data / "image"), "--model", model, *end],
            "evaluate": ["evaluate", "--model", model, "--dataset", test, *end],
            "audit": ["audit", *lists, *end],
        }


def kill(runs: Runs, times: int, disk: Path | None = None) -> None:
    """Kill trainings, or fill the disk under them, and resume them, up to three times each."""
    for stage, workers in TRAININGS:
        whole, seconds = runs.finished(stage, workers)
        stops, failures, number = 0, list[str](), 0
        while stops < times // len(TRAININGS):
            output, number = (disk or runs.root) / f"stopped {number}", number + 1
            shutil.rmtree(output, ignore_errors=True)
            more: tuple[str, ...] = ()
            for _ in range(random.randint(1, 3)):
                process = Run(runs.training(stage, workers, output, *more), runs.log)
                time.sleep(random.uniform(0, seconds))
                if disk:
                    failures += _fill_up(disk, process)
                else:
                    process.send(signal.SIGKILL)
                    process.end()
                stops, more = stops + 1, ("--resume",)
                failures += faults(output)
            code, text = Run(runs.training(stage, workers, output, *more), runs.log).end()
            if code != 0:
                failures.append(f"{output}: exit code {code}: {text}")
                continue
            failures += [*faults(output), *differences(output, whole)]
            failures += [f"{x}: left over" for x in output.rglob(".*")]
            shutil.rmtree(output)
        what = "the disk becomes full" if disk else "SIGKILL"
        _row(f"{what}: training of {stage}, {workers} loader workers", stops, number, failures)


def _fill_up(disk: Path, process: Run) -> list[str]:
    """Leave less than 10 kB on the disk until the run has ended; return what is wrong with it."""
    block = disk / "filling"
    with block.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(2**16))
        except OSError:
            file.truncate(max(0, file.tell() - random.randrange(10_000)))
    code, text = process.end()
    block.unlink()
    return [] if code in (0, 2) and "Traceback" not in text else [f"exit code {code}: {text}"]


def interrupt(runs: Runs, times: int) -> None:
    """Interrupt each command with all of its processes."""
    output = runs.root / "interrupted"
    for name, command in runs.others(output).items():
        shutil.rmtree(output, ignore_errors=True)
        started = time.time()
        Run(command, runs.log, forked=False).end()
        seconds, failures, too_late = time.time() - started, list[str](), 0
        for _ in range(times // 4):
            shutil.rmtree(output, ignore_errors=True)
            process = Run(command, runs.log, forked=False)
            time.sleep(random.uniform(0.15, seconds))  # Python itself begins within 0.1 s
            process.send(signal.SIGINT)
            code, text = process.end()
            lines = [x for x in text.splitlines() if x.startswith("interrupted")]
            too_late += code in (0, 1) and not lines
            if (code, len(lines)) != (130, 1) and code != 0 or "Traceback" in text:
                failures.append(f"{name}: exit code {code}: {text}")
            failures += [*faults(output), *(f"{x}: left over" for x in output.rglob(".*"))]
        _row(f"Ctrl-C: {name}", times // 4, times // 4 - too_late, failures)


def _row(what: str, stops: int, runs: int, failures: list[str]) -> None:
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"| {what} | {stops} | {runs} | {len(failures)} |", flush=True)


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("kind", choices=("kill", "interrupt", "fill"))
    parser.add_argument("--times", type=int, default=30, help="stops, of all kinds of runs")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--disk", type=Path, help="of `fill`: a small file system")
    args: argparse.Namespace = parser.parse_args()
    random.seed(args.seed)
    runs = Runs(args.output)
    if args.kind == "interrupt":
        interrupt(runs, args.times)
    elif args.kind == "fill" and not (args.disk and args.disk.is_mount()):
        raise ValueError("--disk: name a small file system, which will be full")
    else:
        kill(runs, args.times, args.disk if args.kind == "fill" else None)


if __name__ == "__main__":
    run_script(main)
