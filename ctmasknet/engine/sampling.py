"""Which slices are drawn in training: without lesions, or of two kinds."""

import logging
from collections.abc import Iterator

import torch
from detectron2.data.samplers import RepeatFactorTrainingSampler, TrainingSampler
from detectron2.utils import comm
from torch.utils.data import Sampler

logger = logging.getLogger(__name__)


def lesion_free_sampler(
    records: list[dict], share: float, seed: int | None = None
) -> RepeatFactorTrainingSampler:
    """Draw slices at random so that a share of them is without lesions.

    Each pass has every slice with lesions once, and those without as often as the share wants: some
    of them if they are many, several times if they are few.

    Args:
        records: dataset dicts with "annotations"; crowds are no lesions.
        share: above 0 and below 1; of no effect, with a warning, unless there are slices of both
            kinds.
        seed: None takes one that all processes share.

    Returns:
        The sampler of indices of `records`.
    """
    bears = torch.tensor([has_lesions(record) for record in records])
    number, free = int(bears.sum()), int((~bears).sum())
    factors = torch.ones(len(records))
    if number and free:
        factors[~bears] = share / (1 - share) * number / free
        text = "training: %d slices with lesions, and %d without, each %.2f times as often"
        logger.info(text, number, free, factors[~bears][0])
    else:
        logger.warning(
            "DATALOADER.LESION_FREE_SHARE %g is without effect: training has %d slices with and %d "
            "without lesions",
            *(share, number, free),
        )
    return RepeatFactorTrainingSampler(factors, seed=seed)


def has_lesions(record: dict) -> bool:
    """Return whether a dataset dict has an annotation that is no crowd, as Detectron2 filters."""
    return any(not x.get("iscrowd", 0) for x in record["annotations"])


class AlternatingSampler(Sampler[int]):
    """Slices of two kinds in turn, each kind shuffled by itself, without end.

    So every batch of two or more, of each process, has both kinds; the smaller one comes more
    often.
    """

    def __init__(self, first: int, second: int, seed: int | None = None):
        """Take the numbers of the two kinds, 1 or more; indices of the second follow the first's.

        `seed` None takes one that all processes share.
        """
        self._sizes = first, second
        self._seed = comm.shared_random_seed() if seed is None else int(seed)

    def __iter__(self) -> Iterator[int]:
        kinds = [TrainingSampler(n, seed=self._seed + i) for i, n in enumerate(self._sizes)]
        for one, other in zip(*kinds, strict=True):
            yield one
            yield self._sizes[0] + other
