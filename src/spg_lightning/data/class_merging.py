"""Coarser labels: classes merged by a table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from spg_lightning.data.records import Records
from spg_lightning.data.text_files import read_csv
from spg_lightning.errors import UserError, nearest


@dataclass(frozen=True)
class ClassMerging:
    """Merged classes of a data set.

    Attributes:
        class_names: of the merged classes, in the order of their first members.
        new_label: (K,) class index of the data set -> merged class index.
    """

    class_names: tuple[str, ...]
    new_label: Int[np.ndarray, " K"]

    @classmethod
    def read(cls, path: str, class_names: Sequence[str]) -> "ClassMerging":
        """Read a table `class,merged`. A class without a row keeps its name.

        Args:
            path: of the .csv file.
            class_names: of the data set.

        Raises:
            UserError: the file is missing, a row is wrong (file and line are named), or fewer than two classes remain.
        """
        file = Path(path).expanduser()
        if not file.is_file():
            raise UserError(
                f"data.merge_classes={path} is missing; give a .csv file of rows class,merged (evaluate: merge_classes=)"
            )
        merged: dict[str, str] = {}
        for number, (name, target) in read_csv(file, ("class", "merged")):
            where = f"{file}, line {number}"
            if name not in class_names:
                raise UserError(f"{where}: the data set has no class {name}.{nearest(name, class_names)}")
            if name in merged:
                raise UserError(f"{where}: the class {name} is listed twice; keep one row per class")
            if not target:
                raise UserError(f"{where}: {name} has no merged class; rows are class,merged")
            merged[name] = target
        targets = [merged.get(name, name) for name in class_names]
        names = tuple(dict.fromkeys(targets))
        if len(names) < 2:
            raise UserError(f"{file} merges all classes into {names[0]}; a classifier needs at least two")
        return cls(names, np.array([names.index(target) for target in targets], dtype=np.int64))

    def __call__(self, records: Records) -> Records:
        """Return the records with merged labels."""
        return replace(records, labels=self.new_label[records.labels], class_names=self.class_names, origin=None)
