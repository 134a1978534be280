"""Feature shards: the feature files of a list of pictures, written by any number of runs.

Each shard holds the features of up to `SHARD` pictures and names them, so that a list finds its
rows wherever they lie. Pictures that join the list, and those whose shard was lost, are encoded
into further shards. Runs and ranks that want the same pictures share the work: each takes the next
shard that nobody writes, and at the end waits for the others'. A run that is killed loses the
shard that it was writing.

`index.json` lists the shards whose checksums were compared, so that maps of large sets need not be
read as a whole at every start.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.files import write_text
from common.ranks import rank, wait_for_all, world_size
from common.readers.json_files import read_json
from loading.cache.feature_files import (
    PICTURES,
    FeatureFile,
    Write,
    too_large,
)
from loading.cache.feature_rows import MappedRows
from loading.decoding import cores
from modeling.encoders.features import Features

SHARD = 4096  # pictures; of ViT-B/16 16 MB under two views, and 1.7 GB with regions
INDEX = "index.json"

EncodePlaces = Callable[[np.ndarray, Write], None]  # places of a list, in order


class FeatureShards:
    """Features of V views of pictures, in a folder.

    Args:
        folder: of the shards, and of no other files.
        key: all that the features depend on beside the pictures.
        views: V.
    """

    def __init__(self, folder: Path, key: Mapping[str, str], views: int) -> None:
        self.folder, self.key, self.views = folder, key, views
        self._opened: dict[Path, tuple[FeatureFile, dict[str, Tensor]]] = {}

    def fill(self, pictures: np.ndarray, encode: EncodePlaces) -> int:
        """Encode the pictures that no shard holds; of several ranks, each its share.

        Args:
            pictures: digests, uint8 [N, 16].
            encode: encodes pictures by their places; counts images from the first of them.

        Returns:
            How many pictures this call encoded; other runs may have encoded more.

        Raises:
            CannotStoreError: a shard cannot be written.
        """
        missing = np.flatnonzero(self._locate(pictures)[0] < 0)
        wait_for_all()  # before a rank has written any, so that all make the same blocks
        size = max(min(SHARD, -(-len(missing) // world_size())), 1)
        blocks = [missing[start : start + size] for start in range(0, len(missing), size)]
        blocks = blocks[rank() :] + blocks[: rank()]  # each begins with one of its own
        made, busy = 0, []
        for wait in (False, True):  # first what nobody writes, then what others have not finished
            for places in busy if wait else blocks:
                own = torch.from_numpy(pictures[places])
                name = hashlib.sha256(own.numpy()).hexdigest()[:16]
                file = FeatureFile(self.folder / f"{name}.safetensors", self.key, self.views)
                encoded = file.make(own, lambda write, places=places: encode(places, write), wait)
                made += len(places) if encoded else 0
                busy += [places] if encoded is None else []
        return made

    def read(self, pictures: np.ndarray, device: torch.device) -> Features | None:
        """Features [V, N, ...] of pictures; None if some are not here.

        Kinds of features that take more than `feature_files.MMAP_FROM_BYTES` stay in the files.

        Args:
            pictures: digests, uint8 [N, 16].
            device: where the features go.
        """
        shard, row, opened = self._locate(pictures)
        if not len(opened) or (shard < 0).any():
            return None
        example = opened[0][1]
        sizes = {n: len(row) * t[:, :1].nbytes for n, t in example.items() if n != PICTURES}
        mapped = too_large(sizes)
        used = [opened[number] for number in np.unique(shard)]
        if mapped and not self._intact(used):
            return None
        found: dict[str, Tensor | MappedRows] = {
            name: MappedRows([t[name] for _, t in opened], shard, row) for name in mapped
        }
        for name in sizes.keys() - mapped:
            try:
                found[name] = _in_memory(name, opened, shard, row, device)
            except _DamagedError as damage:
                self._forget(damage.file, damage)
                return None
        return Features(**found)

    def _locate(
        self, pictures: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, list[tuple[FeatureFile, dict[str, Tensor]]]]:
        """Shard and row of each picture [N], -1 where there is none, and the shards."""
        opened = list(self._open())
        shard = np.full(len(pictures), -1, dtype=np.int32)
        row = shard.copy()
        if opened:
            held = [tensors[PICTURES].numpy() for _, tensors in opened]
            sizes = [len(digests) for digests in held]
            place = places_of(pictures, np.concatenate(held))
            there = place >= 0
            ends = np.cumsum(sizes)
            shard[there] = np.searchsorted(ends, place[there], side="right")
            row[there] = place[there] - (ends - sizes)[shard[there]]
        return shard, row, opened

    def _open(self) -> Iterator[tuple[FeatureFile, dict[str, Tensor]]]:
        """The shards that are whole; those that were opened before stay open."""
        for path in sorted(self.folder.glob("*.safetensors")):
            if path not in self._opened:
                file = FeatureFile(path, self.key, self.views)
                tensors = file.open()
                if tensors is None:
                    continue
                self._opened[path] = file, tensors
            yield self._opened[path]

    def _intact(self, shards: list[tuple[FeatureFile, dict[str, Tensor]]]) -> bool:
        """Compare the checksums of shards that are not listed as compared, and list them."""
        known = self._index()
        new = [pair for pair in shards if known.get(pair[0].path.name) != _entry(*pair)]
        with ThreadPoolExecutor(cores()) as pool:
            damages = list(pool.map(_damage, new))
        for (file, _), damage in zip(new, damages, strict=True):
            if damage is not None:
                self._forget(file, damage)
        for pair, damage in zip(new, damages, strict=True):
            if damage is None:
                known[pair[0].path.name] = _entry(*pair)
        if new:
            there = {name: said for name, said in known.items() if (self.folder / name).exists()}
            with contextlib.suppress(OSError):  # then they are compared again
                write_text(self.folder / INDEX, json.dumps(there, indent=1) + "\n")
        return not any(damages)

    def _index(self) -> dict[str, object]:
        with contextlib.suppress(OSError, ValueError):
            content = read_json(self.folder / INDEX)
            if isinstance(content, dict):
                return content
        return {}

    def _forget(self, file: FeatureFile, error: Exception) -> None:
        self._opened.pop(file.path, None)
        file.report(error)


class _DamagedError(ValueError):
    """A shard's checksum is wrong; `file` is the shard."""

    def __init__(self, file: FeatureFile, error: Exception) -> None:
        super().__init__(str(error))
        self.file = file


def _entry(file: FeatureFile, tensors: Mapping[str, Tensor]) -> dict[str, object]:
    return {"pictures": len(tensors[PICTURES]), "file": list(file.identity() or ())}


def _damage(shard: tuple[FeatureFile, dict[str, Tensor]]) -> ValueError | None:
    file, tensors = shard
    try:
        for name, tensor in tensors.items():
            file.check_sum(name, tensor)
    except ValueError as error:
        return error
    return None


def _in_memory(
    name: str,
    opened: list[tuple[FeatureFile, dict[str, Tensor]]],
    shard: np.ndarray,
    row: np.ndarray,
    device: torch.device,
) -> Tensor:
    """One kind of feature of all pictures [V, N, ...] on a device, checksums compared."""
    whole: Tensor | None = None
    for number in np.unique(shard):
        file, tensors = opened[number]
        try:
            part = file.copied(name, tensors[name])  # [V, n, ...]
        except ValueError as error:
            raise _DamagedError(file, error) from error
        places = np.flatnonzero(shard == number)
        if len(places) == len(shard) == part.shape[1] and (np.diff(row) == 1).all():
            return part.to(device)
        if whole is None:
            size = (len(part), len(shard), *part.shape[2:])
            whole = torch.empty(size, dtype=part.dtype, device=device)
        rows = part[:, torch.from_numpy(row[places].astype(np.int64))]
        whole[:, torch.from_numpy(places).to(device)] = rows.to(device)
    return whole


def places_of(wanted: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Where each of N digests stands among M others, int64 [N]; -1 where it does not.

    Args:
        wanted: uint8 [N, 16].
        held: uint8 [M, 16].
    """
    if not len(held):
        return np.full(len(wanted), -1)
    one, other = (np.ascontiguousarray(d).view(np.uint64) for d in (wanted, held))  # [., 2]
    order = np.argsort(other[:, 0], kind="stable")
    asked = np.argsort(one[:, 0], kind="stable")  # sorted questions go through the memory in turn
    near = np.searchsorted(other[order, 0], one[asked, 0]).clip(max=len(held) - 1)
    places = np.empty(len(wanted), dtype=np.int64)
    places[asked] = order[near]
    return np.where((other[places] == one).all(axis=1), places, -1)
