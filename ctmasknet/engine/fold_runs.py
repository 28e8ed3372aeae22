"""Several configs on the same folds of an image list, each fold a process of `ctmasknet train`.

Files in the output folder: folds/ (image lists), RUN/fold_0/ ... (ordinary training runs), then
what `evaluation.run_comparison` writes.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..data.image_lists import find_classes, load_image_list, write_image_list
from ..data.list_paths import allow_data_roots
from ..data.splits import split_records
from ..evaluation.run_comparison import compare_runs
from ..modeling import is_one_shot, reads_boxes
from ..provenance import sha256_of
from ..shipped_models import find_weights
from .finished_folds import is_finished, key_of, mark_finished
from .setup import load_config


@dataclass(frozen=True)
class Run:
    """A name, a config and what overrides it (KEY VALUE pairs)."""

    name: str
    config: str
    opts: tuple[str, ...] = ()


def read_runs(path: Path) -> list[Run]:
    """Read runs, one a line: NAME CONFIG [KEY VALUE ...], quoted as in a shell; # begins a comment.

    Raises:
        FileNotFoundError, ValueError: no such file, no run, a name twice, or half a pair.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list of runs")
    runs: dict[str, Run] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if len(words) % 2 or Path(words[0]).name != words[0] or words[0] in runs:
            raise ValueError(
                f"{path}, line {number}: expected NAME CONFIG [KEY VALUE ...] with another name "
                "than the others', which a folder can have"
            )
        runs[words[0]] = Run(words[0], words[1], tuple(words[2:]))
    if not runs:
        raise ValueError(f"{path}: no run in it")
    return [*runs.values()]


@dataclass(frozen=True)
class FoldRuns:
    """Configs, data and folds.

    Attributes:
        runs: what is trained; the first is what the others are compared with.
        images: image list (.csv). Slices are dealt out by its column patient.
        output: folder; finished folds in it are kept if they are of the same settings and data.
        weights: of configs that read boxes, as `ctmasknet train --weights`; "" takes each config's.
        lesions: lesion data set (.json) of one-shot configs.
        folds: how many.
        seed: of the split; that of training is each config's SEED.
        opts: overrides of all runs, which come last.
    """

    runs: Sequence[Run]
    images: Path
    output: Path
    weights: str = ""
    lesions: Path | None = None
    folds: int = 5
    seed: int = 0
    opts: Sequence[str] = field(default_factory=tuple)

    def run(self, only: Iterable[int] | None = None, jobs: int = 1) -> dict[str, Any]:
        """Train the folds `only` (None: all) that are not finished, `jobs` at a time; compare.

        Returns the content of results.json. Raises a ValueError for a fold that does not exist, was
        finished with other settings or data, or fails: the others are trained all the same.
        """
        wanted = [*range(self.folds)] if only is None else [*only]
        for index in wanted:
            if index not in range(self.folds):
                raise ValueError(f"fold {index}: expected 0 to {self.folds - 1}")
        if jobs < 1:
            raise ValueError(f"jobs is {jobs}, expected 1 or more")
        self._write_folds()
        todo = []
        for index in wanted:  # fold by fold: all runs can be screened on the first one
            for run in self.runs:
                words = self._words(run, index)
                if not self._finished(run, index, words):
                    todo.append((run, index, words))
        failed = []
        with (
            ThreadPoolExecutor(jobs) as pool,
            tqdm(total=len(todo), desc="folds", unit="fold", disable=None) as bar,
        ):
            waiting = {pool.submit(self._train, *task, jobs): task[:2] for task in todo}
            for future in as_completed(waiting):
                run, index = waiting[future]
                if code := future.result():
                    failed.append(f"{self._folder(run, index) / 'console.txt'} (exit code {code})")
                bar.update()
        results = self._compare()
        if failed:
            raise ValueError(f"{len(failed)} training(s) failed: see {', '.join(failed)}")
        return results

    def part(self, index: int, kind: str) -> Path:
        """Return the image list of a fold, "train" or "test"."""
        return self.output / "folds" / f"fold_{index}_{kind}.csv"

    def _folder(self, run: Run, index: int) -> Path:
        return self.output / run.name / f"fold_{index}"

    def _write_folds(self) -> None:
        classes = find_classes([str(self.images)])
        records = load_image_list(self.images, classes)
        allow_data_roots([str(self.images.parent)])  # the folds' lists lie elsewhere
        weights = {str(i): 1.0 for i in range(self.folds)}
        parts = [*split_records(records, weights, self.seed).values()]
        (self.output / "folds").mkdir(parents=True, exist_ok=True)
        for index, test in enumerate(parts):
            train = [x for i, part in enumerate(parts) if i != index for x in part]
            write_image_list(train, classes, self.part(index, "train"))
            write_image_list(test, classes, self.part(index, "test"))

    def _words(self, run: Run, index: int) -> list[str]:
        """Return the command line of a fold's training, without program and output."""
        opts = [*run.opts, *self.opts]  # the last of a key counts
        cfg = load_config(run.config, opts, datasets=False)
        words = [run.config, "--train", str(self.part(index, "train"))]
        if is_one_shot(cfg):
            if self.lesions is None:
                raise ValueError(f"{run.name}: one-shot training wants lesions, too")
            words += ["--train", str(self.lesions)]
        words += ["--test", str(self.part(index, "test"))]
        if self.weights and reads_boxes(cfg):
            words += ["--weights", self.weights]
        return [*words, *opts, "TEST.EVAL_PERIOD", "0", "TEST.BOOTSTRAP_RESAMPLES", "0"]

    def _key(self, words: Sequence[str], index: int) -> str:
        """SHA-256 of what a fold's training depends on but code, machine and images."""
        content = [*words, *(self.part(index, k).read_text() for k in ("train", "test"))]
        files = [path for path in (self.lesions,) if path]
        files += [path for path in (find_weights(self.weights),) if self.weights and path.is_file()]
        content += [sha256_of(path) for path in files]
        return key_of(content)

    def _finished(self, run: Run, index: int, words: Sequence[str]) -> bool:
        return is_finished(self._folder(run, index), self._key(words, index))

    def _train(self, run: Run, index: int, words: Sequence[str], jobs: int) -> int:
        """Train a fold in a process of its own; returns its exit code."""
        folder = self._folder(run, index)
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "ctmasknet", "train", *words[:1], "--resume"]
        command += ["--output", str(folder), *words[1:]]
        threads = max(1, (os.cpu_count() or 1) // jobs)
        env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        # Beside the run's own log, which lacks what is said before it.
        with (folder / "console.txt").open("w") as console:
            done = subprocess.run(command, stdout=console, stderr=subprocess.STDOUT, env=env)
        if not done.returncode:
            mark_finished(folder, self._key(words, index))
        return done.returncode

    def _compare(self) -> dict[str, Any]:
        folders = {
            run.name: [
                self._folder(run, index) / "inference" / self.part(index, "test").stem
                for index in range(self.folds)
                if self._finished(run, index, self._words(run, index))
            ]
            for run in self.runs
        }
        finished = {name: found for name, found in folders.items() if found}
        if not finished:
            return {}
        about = {
            "images": self.images.name,
            "folds": self.folds,
            "split_seed": self.seed,
            "overrides": shlex.join(self.opts),
            "configs": {run.name: shlex.join([run.config, *run.opts]) for run in self.runs},
        }
        return compare_runs(finished, self.output, about)
