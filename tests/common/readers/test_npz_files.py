from __future__ import annotations

import time
import zipfile

import numpy as np
import pytest

from common.readers import npz_files
from common.readers.npz_files import read_npz, write_npz

ARRAYS = {
    "numbers": np.arange(6, dtype=np.float32).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "truth": np.array([True, False]),
    "texts": np.array(["a", "größer"]),
    "one": np.array(0.5),
    "none": np.zeros((0, 3), ">i4"),
}


def test_equal_arrays_are_written_as_equal_bytes_at_any_time(tmp_path, monkeypatch):
    arrays = {"scores": np.arange(6.0).reshape(2, 3), "paths": np.array(["a.jpg", "straße/b.jpg"])}
    write_npz(tmp_path / "now.npz", arrays)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2_000_000_000))
    write_npz(tmp_path / "new" / "later.npz", arrays)
    assert (tmp_path / "now.npz").read_bytes() == (tmp_path / "new" / "later.npz").read_bytes()
    with np.load(tmp_path / "now.npz", allow_pickle=False) as found:
        assert sorted(found) == ["paths", "scores"]
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            np.testing.assert_array_equal(read_npz(tmp_path / "now.npz", [name])[name], array)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_those_of_numpy(save, tmp_path):
    save(tmp_path / "a.npz", **ARRAYS)
    found = read_npz(tmp_path / "a.npz", ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


def refused(path, names, *words):
    with pytest.raises(ValueError) as refusal:
        read_npz(path, names)
    message = str(refusal.value)
    assert str(path) in message and all(word in message for word in words), message


@pytest.mark.parametrize("array", [np.array([None]), np.zeros(2, "i4,f8"), np.array([b"a"])])
def test_other_values_than_numbers_and_texts(array, tmp_path):
    np.savez(tmp_path / "a.npz", a=array)
    refused(tmp_path / "a.npz", ["a"], "a holds something other than numbers")


def test_an_absent_array(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros(2))
    refused(tmp_path / "a.npz", ["a", "b"], "b.npy")


def test_more_memory_than_the_size_explains(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(100_000))
    monkeypatch.setattr(npz_files, "MAX_UNPACKED", 1000)
    refused(tmp_path / "a.npz", ["a"], "far more memory")


def test_every_flipped_bit_of_the_values_is_noticed(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.arange(8, dtype="<i8"))
    content = (tmp_path / "a.npz").read_bytes()
    start = content.index(np.arange(8, dtype="<i8").tobytes())
    for place in (start, start + 30, start + 63):
        damaged = bytearray(content)
        damaged[place] ^= 4
        (tmp_path / "a.npz").write_bytes(damaged)
        refused(tmp_path / "a.npz", ["a"], "CRC")


def test_other_compressions_have_no_limit_and_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros(2))
    with zipfile.ZipFile(tmp_path / "a.npz") as source:
        content = source.read("a.npy")
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_LZMA) as target:
        target.writestr("a.npy", content)
    refused(tmp_path / "b.npz", ["a"], "compressed in another way")


def test_large_arrays_stay_in_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(npz_files, "MAP_FROM_BYTES", 4000)
    path = tmp_path / "a.npz"
    large, small = np.random.default_rng(0).normal(size=(100, 20)), np.arange(9)
    write_npz(path, {"small": small, "large": large})
    found = read_npz(path, ["large", "small"])
    assert isinstance(found["large"], np.memmap) and not isinstance(found["small"], np.memmap)
    np.testing.assert_array_equal(found["large"], large)
    np.testing.assert_array_equal(found["small"], small)
    with np.load(path, allow_pickle=False) as file:  # numpy's own reader agrees
        np.testing.assert_array_equal(file["large"], large)
    content = bytearray(path.read_bytes())
    content[content.index(large.tobytes()) + 12_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        read_npz(path, ["large"])
