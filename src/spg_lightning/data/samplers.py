"""Samplers that give every image to one process, once an epoch, and the functions of the loader's workers."""

import math
import signal
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int
from torch.utils.data import Sampler

from spg_lightning.data.images import Batch, Sample, SampleKey, collate
from spg_lightning.errors import UserError
from spg_lightning.utils.signals import SIGNALS

SHUFFLE_BUFFER_CHUNKS = 32  # chunks of about 400 images among which fetched images are shuffled


class ProcessSampler(Sampler[int]):
    """Distributes 0 .. size - 1 over the processes: each index once, no padding.

    Args:
        size: number of indices.
        rank, world_size: this process and the number of processes.
        shuffle_seed: shuffles each epoch anew, identically in all processes, and gives every process the same number,
            dropping the remainder of the epoch; None keeps the order and drops nothing.
        places: (size,) chunk of each index. Chunks are shuffled, and indices are shuffled within a window of
            `SHUFFLE_BUFFER_CHUNKS` chunks, so that only these must be on disk; None for a uniform shuffle.
    """

    def __init__(
        self,
        size: int,
        rank: int,
        world_size: int,
        shuffle_seed: int | None = None,
        places: Int[np.ndarray, " size"] | None = None,
    ) -> None:
        self.places = places
        self.size, self.rank, self.world_size, self.shuffle_seed = size, rank, world_size, shuffle_seed
        self.epoch = 0
        self.begin = (0, 0)

    def fast_forward(self, epoch: int, seen: int) -> None:
        """Skip the first `seen` indices of an epoch. `len` stays that of a full epoch.

        Also sets the epoch: Lightning starts the loader's workers, which ask for indices, before it sets it.
        """
        self.epoch, self.begin = epoch, (epoch, seen)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which selects the shuffle. Lightning calls this."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.shuffle_seed is None:
            return iter(range(self.rank, self.size, self.world_size))
        order = self._order(np.random.default_rng([self.shuffle_seed, self.epoch]))
        seen = self.begin[1] if self.epoch == self.begin[0] else 0
        return iter(order[self.rank : len(self) * self.world_size : self.world_size].tolist()[seen:])

    def _order(self, rng: np.random.Generator) -> Int[np.ndarray, " size"]:
        if self.places is None:
            return rng.permutation(self.size)
        turn = rng.permutation(int(self.places.max()) + 1)  # of each chunk
        return np.argsort(turn[self.places] + SHUFFLE_BUFFER_CHUNKS * rng.random(self.size), kind="stable")

    def __len__(self) -> int:
        if self.shuffle_seed is None:
            return math.ceil((self.size - self.rank) / self.world_size)
        return self.size // self.world_size


class SeededSampler(Sampler[SampleKey]):
    """Gives every index a seed for its random transforms, and the epoch.

    The seed depends on the run's seed, the epoch and the index only, so that processes and workers do not change the images.

    Args:
        indices: sampler of the indices.
        seed: of the run.
    """

    def __init__(self, indices: ProcessSampler, seed: int) -> None:
        self.indices, self.seed = indices, seed

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which selects the shuffle and the seeds. Lightning calls this."""
        self.indices.set_epoch(epoch)

    def __iter__(self) -> Iterator[SampleKey]:
        for index in self.indices:
            seed = int(np.random.SeedSequence([self.seed, self.indices.epoch, index]).generate_state(1)[0])
            yield SampleKey(index, seed, self.indices.epoch)

    def __len__(self) -> int:
        return len(self.indices)


def worker_init_fn(worker: int) -> None:
    """Initialize a loader's worker: ignore the stop signals.

    The last step still needs the worker's images when the whole process group receives a signal.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def collate_nonempty(samples: list[Sample | None]) -> Batch:
    """Collate for one of several training processes. The others would wait for a process without an image.

    Raises:
        UserError: all images are corrupt.
    """
    batch = collate(samples)
    if batch is None:
        raise UserError(
            "all images in one process's share of a batch are corrupt; restore them, or enlarge dataset.batch_size"
        )
    return batch
