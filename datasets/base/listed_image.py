"""Images of a list, whose pictures may be absent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np
from dassl.data.datasets import Datum

from common.sparse_targets import SparseTargets
from datasets.files.image_list import Paths

LAZY_FROM_BYTES = 512 << 20  # of a split's items, from which on they are made when asked for
_ITEM = 300  # bytes that an item takes beside its label


class ListedImage(Datum):
    """Dassl's `Datum` without its look for the file.

    The data set has looked for all files together, or nobody will read this one.

    Args:
        impath: where the picture is, or would be.
        label: multi-label target, float32 [C].
    """

    def __init__(self, impath: str, label: np.ndarray) -> None:
        # Datum's own fields, by its names here and in stock Dassl; its __init__ refuses.
        self._impath, self._label, self._domain, self._classname = impath, label, 0, ""


class Pictures(Sequence[str]):
    """Where the pictures of a list lie; each is looked up when it is asked for.

    Args:
        paths: of the list.
        picture: from such a path to the file.
    """

    def __init__(self, paths: Paths, picture: Callable[[str], str]) -> None:
        self._paths, self._picture = paths, picture

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """A file, or a list of some."""
        if isinstance(index, slice):
            return [self._picture(path) for path in self._paths[index]]
        return self._picture(self._paths[index])


class ListedImages(Sequence[ListedImage]):
    """The items of a large split, each made when it is asked for.

    Attributes:
        impaths: of all of them.
        targets: of all of them, [N, C].
    """

    def __init__(self, impaths: Pictures, targets: SparseTargets) -> None:
        self.impaths, self.targets = impaths, targets

    def __len__(self) -> int:
        return len(self.impaths)

    @overload
    def __getitem__(self, index: int) -> ListedImage: ...
    @overload
    def __getitem__(self, index: slice) -> list[ListedImage]: ...
    def __getitem__(self, index: int | slice) -> ListedImage | list[ListedImage]:
        """An item, or a list of some."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return ListedImage(self.impaths[place], self.targets[place].numpy())


def listed_images(
    paths: Paths, picture: Callable[[str], str], targets: SparseTargets
) -> Sequence[ListedImage]:
    """The items of a split: a list, or a sequence that makes them where they would take too much.

    Args:
        paths: of the list, N.
        picture: from such a path to the file.
        targets: [N, C].
    """
    if len(paths) * (4 * targets.num_classes + _ITEM) > LAZY_FROM_BYTES:
        return ListedImages(Pictures(paths, picture), targets)
    return [
        ListedImage(picture(path), target)
        for path, target in zip(paths, targets.dense(), strict=True)
    ]
