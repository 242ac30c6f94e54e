"""Samplers deal every image once and resume anywhere."""

import pytest

from spg_lightning.data.samplers import ProcessSampler, SeededSampler


def test_two_processes_share_the_batches_of_one():
    def dealt(rank, processes):
        sampler = SeededSampler(ProcessSampler(23, rank, processes, shuffle_seed=5), 5)
        sampler.set_epoch(3)
        return list(sampler)

    whole, shares = dealt(0, 1), [dealt(0, 2), dealt(1, 2)]
    for step in range(23 // 4):
        batch = whole[4 * step : 4 * step + 4]
        assert sorted(batch) == sorted(shares[0][2 * step : 2 * step + 2] + shares[1][2 * step : 2 * step + 2])


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_a_fast_forwarded_sampler_skips_the_first_indices(processes):
    for rank in range(processes):
        whole = SeededSampler(ProcessSampler(23, rank, processes, shuffle_seed=5), 5)
        later = SeededSampler(ProcessSampler(23, rank, processes, shuffle_seed=5), 5)
        later.indices.fast_forward(epoch=4, seen=3)
        whole.set_epoch(4)
        assert list(later) == list(whole)[3:], "without set_epoch: workers ask before it"
        assert len(later) == len(whole)
        for sampler in (whole, later):
            sampler.set_epoch(5)
        assert list(later) == list(whole), "the next epoch is complete"
