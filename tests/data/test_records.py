import numpy as np

from spg_lightning.data import read_cub
from spg_lightning.data.records import stratified_holdout
from tests.trees import write_cub


def test_hold_out_is_stratified_disjoint_and_seeded(tmp_path):
    records = read_cub(str(write_cub(tmp_path, per_class=20))).train
    rest, held = stratified_holdout(records, 0.2, seed=3)
    assert np.bincount(records.labels[held]).tolist() == [2, 2, 2]
    assert sorted([*rest, *held]) == list(range(len(records)))
    assert np.array_equal(stratified_holdout(records, 0.2, seed=3)[1], held)
    assert not np.array_equal(stratified_holdout(records, 0.2, seed=4)[1], held)


def test_take_keeps_columns_together(tmp_path):
    records = read_cub(str(write_cub(tmp_path))).train
    taken = records.take(np.array([5, 2]))
    assert taken.images == (records.images[5], records.images[2])
    assert taken.labels.tolist() == [records.labels[5], records.labels[2]]
    for k, i in enumerate((5, 2)):
        assert np.array_equal(taken.boxes_of(k), records.boxes_of(i))
