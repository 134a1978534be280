"""Pickles and files of torch's, honest and forged, through the readers that options lead to."""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path

import numpy as np
import pytest
import torch

from common.readers.pickles.machine import read_pickle
from common.readers.pickles.vocabulary import PLAIN
from common.readers.torch_files import is_torchscript
from compat.checkpoint_reader import Placeholder, load_checkpoint, saved_state

PROJECT = Path(__file__).parents[3]
NUMBERS = ["<i8", ">i8", "i4", "u2", "i1", "?", "<f8", ">f4", "f2"]


def read(content, vocabulary=PLAIN):
    return read_pickle(io.BytesIO(content), len(content), vocabulary)


def refused(path, *words):
    with pytest.raises((pickle.UnpicklingError, ValueError)) as refusal:
        load_checkpoint(str(path))
    message = str(refusal.value)
    assert str(path) in message and "\n" not in message, message
    assert all(word in message for word in words), message


def in_archive(path, pickled, **records):
    """A zip archive like torch's, around a pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickled)
        for name, content in records.items():
            archive.writestr(f"x/{name.replace('__', '/')}", content)
    return path


class TestHonest:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_plain_values_are_those_of_pythons_unpickler(self, protocol):
        shared = [1, 2]
        value = {
            "numbers": [0, -1, 2**40, -(2**70), 1.5, float("inf"), 1 + 2j, True, None],
            "texts": ["", "ä", "\n", b"\x00\xff", bytearray(b"ab")],
            "containers": [(), (1,), (1, 2), {1}, frozenset([2]), deque([1]), [[]]],
            "named": [OrderedDict(a=1), Counter("aab"), defaultdict(list, a=[1])],
            "shared": (shared, shared),
            (1, "key"): {},
        }
        content = pickle.dumps(value, protocol)
        found = read(content)
        assert found == pickle.loads(content)
        assert found["shared"][0] is found["shared"][1]
        assert [type(item) for item in found["named"]] == [OrderedDict, Counter, defaultdict]

    @pytest.mark.parametrize("in_zip", [True, False])
    @pytest.mark.parametrize("code", NUMBERS)
    def test_numbers_and_arrays_of_numpy(self, code, in_zip, tmp_path):
        arrays = [np.arange(6).reshape(2, 3).astype(code), np.ones((2, 2), code, order="F")]
        arrays += [np.empty((0, 3), code), np.asarray(1, code)]
        saved = {"arrays": arrays, "one": np.dtype(code).type(1)}
        torch.save(saved, tmp_path / "a", _use_new_zipfile_serialization=in_zip)
        found = load_checkpoint(str(tmp_path / "a"))
        for ours, theirs in zip(found["arrays"], arrays, strict=True):
            assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
            np.testing.assert_array_equal(ours, theirs)
        assert found["one"] == 1 and found["one"].dtype == np.dtype(code).newbyteorder("=")

    @pytest.mark.parametrize("in_zip", [True, False])
    def test_tensors_are_those_of_torch(self, in_zip, tmp_path):
        whole = torch.arange(12.0).view(3, 4)
        saved = {
            "views": [whole, whole[1:], whole.t(), whole[:, 1], torch.empty(0), torch.tensor(3)],
            "kinds": [whole.to(kind) for kind in (torch.half, torch.bfloat16, torch.bool)],
            "parameter": torch.nn.Parameter(whole.clone()),
        }
        torch.save(saved, tmp_path / "a", _use_new_zipfile_serialization=in_zip)
        found = load_checkpoint(str(tmp_path / "a"))
        theirs = torch.load(tmp_path / "a", weights_only=True)
        for kind in ("views", "kinds"):
            for a, b in zip(found[kind], theirs[kind], strict=True):
                assert torch.equal(a, b) and a.stride() == b.stride() and a.dtype == b.dtype
        assert torch.equal(found["parameter"], theirs["parameter"])
        assert found["parameter"].requires_grad
        found["views"][0][1, 0] = -1.0  # the first four share their memory
        assert found["views"][1][0, 0] == -1.0 and found["views"][2][0, 1] == -1.0

    def test_states_of_optimisers_and_schedules(self, tmp_path):
        model = torch.nn.Linear(2, 2)
        optimiser = torch.optim.AdamW(model.parameters())
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 5)
        model(torch.ones(1, 2)).sum().backward()
        optimiser.step()
        schedule.step()
        saved = {"optimizer": optimiser.state_dict(), "scheduler": schedule.state_dict()}
        torch.save(saved, tmp_path / "a")
        found = load_checkpoint(str(tmp_path / "a"))
        assert found["scheduler"] == saved["scheduler"]
        optimiser.load_state_dict(found["optimizer"])
        moments = found["optimizer"]["state"][0]["exp_avg"]
        assert torch.equal(moments, saved["optimizer"]["state"][0]["exp_avg"])

    def test_state_of_dicts_and_objects(self):
        scheduler = Placeholder()
        scheduler.keep({"optimizer": 1, "last_epoch": 2})
        scheduler.keep(("no", "dict"))
        assert saved_state(scheduler) == saved_state(vars(scheduler)) == {"last_epoch": 2}


class TestNothingIsCalled:
    @pytest.mark.parametrize(
        "name",
        [
            *("os system", "builtins eval", "builtins getattr", "builtins __import__"),
            *("torch load", "torch.hub load", "numpy load", "collections namedtuple"),
            *("common.readers.pickles.vocabulary Placeholder", "builtins object", "builtins type"),
        ],
    )
    @pytest.mark.parametrize("call", [b"R", b"\x81"])
    def test_other_names_are_placeholders(self, name, call, tmp_path):
        named = b"c" + name.replace(" ", "\n").encode() + b"\n"
        pickled = b"\x80\x02}X\x01\x00\x00\x00a" + named + b"X\x02\x00\x00\x00hi\x85" + call + b"s."
        found = load_checkpoint(str(in_archive(tmp_path / "a", pickled)))["a"]
        assert isinstance(found, Placeholder) and not vars(found)
        assert type(found).__name__ == name.split()[1]
        with pytest.raises(pickle.UnpicklingError, match="refused"):
            read(named + b".")

    def test_a_file_cannot_change_what_it_is_given(self):
        for module, name in PLAIN.values:
            tamper = b"\x80\x02c%s\n%s\n(N}X\x05\x00\x00\x00pwned\x88stb."
            with pytest.raises(pickle.UnpicklingError):
                read(tamper % (module.encode(), name.encode()))

    @pytest.mark.parametrize("instruction", [b"\x82\x01", b"\x83\x01\x00", b"\x97", b"Pid\n"])
    def test_rare_instructions_are_refused(self, instruction):
        with pytest.raises(pickle.UnpicklingError):
            read(b"\x80\x02" + instruction + b".")


class TestForgedArrays:
    """States that make numpy's own types read foreign memory."""

    HEAD = b"\x80\x02}X\x01\x00\x00\x00a"
    DTYPE = b"cnumpy\ndtype\nX\x02\x00\x00\x00%sK\x00K\x01\x87R"
    ORDER = b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"

    def array(self, path, shape, content, code=b"i8", order=ORDER):
        made = (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01"
            + pickle.dumps(shape, 2)[2:-1]
            + self.DTYPE % code
            + order
            + b"\x89"
            + pickle.dumps(content, 4)[11:-1].replace(b"\x94", b"")
            + b"tbs."
        )
        return in_archive(path, self.HEAD + made)

    def test_an_honest_one_is_read(self, tmp_path):
        path = self.array(tmp_path / "a", (2,), struct.pack("<2q", 7, -1))
        assert load_checkpoint(str(path))["a"].tolist() == [7, -1]

    def test_an_address_does_not_become_an_object(self, tmp_path):
        address = struct.pack("<q", id(object))
        refused(self.array(tmp_path / "a", (1,), address, code=b"O8"), "O8", "expected numbers")

    def test_more_values_than_bytes(self, tmp_path):
        refused(self.array(tmp_path / "a", (1000,), b"12345678"), "needs 8000 bytes, 8 are there")
        refused(self.array(tmp_path / "b", (-1,), b"12345678"), "shape")
        refused(self.array(tmp_path / "c", (1 << 62,), b"12345678"), "shape")

    @pytest.mark.parametrize("code", [b"V8", b"M8", b"S8", b"U2", b"c8", b"\xff1"])
    def test_other_types_than_numbers(self, code, tmp_path):
        refused(self.array(tmp_path / "a", (1,), b"12345678", code=code))

    def test_a_type_out_of_range(self, tmp_path):
        bad = b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\x7fJ\xff\xff\xff\x7fK\x7ftb"
        path = self.array(tmp_path / "a", (1,), b"12345678", order=bad)
        assert load_checkpoint(str(path))["a"].tolist() == [struct.unpack("<q", b"12345678")[0]]


class TestForgedTensors:
    STORAGE = (
        b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
        b"X\x03\x00\x00\x00cpu%stQ"
    )

    def tensor(self, path, count=4, offset=0, size=(2, 2), stride=(2, 1), content=bytes(16)):
        number = lambda value: pickle.dumps(value, 2)[2:-1]  # noqa: E731
        made = (
            b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n"
            + self.STORAGE % number(count)
            + number(offset)
            + b"".join(number(item).replace(b"q\x00", b"") for item in (size, stride))
            + b"\x89}tRs."
        )
        return in_archive(path, made, data__0=content)

    def test_an_honest_one_is_read(self, tmp_path):
        content = np.arange(4, dtype="<f4").tobytes()
        found = load_checkpoint(str(self.tensor(tmp_path / "a", content=content)))["a"]
        assert found.tolist() == [[0, 1], [2, 3]]

    @pytest.mark.parametrize(
        "forged",
        [
            {"offset": 1},
            {"offset": -1},
            {"size": (3, 2)},
            {"stride": (3, 1)},
            {"stride": (-2, 1)},
            {"size": (1 << 40,), "stride": (0,)},
            {"size": (2, 2), "stride": (1,)},
            {"count": 5},
            {"count": 1 << 40},
            {"count": -4},
            {"content": bytes(15)},
        ],
        ids=str,
    )
    def test_what_reaches_beyond_the_storage(self, forged, tmp_path):
        refused(self.tensor(tmp_path / "a", **forged))

    @pytest.mark.parametrize("layout", ["sparse", "meta"])
    def test_other_kinds_of_tensors(self, layout, tmp_path):
        made = torch.eye(2).to_sparse() if layout == "sparse" else torch.empty(2, device="meta")
        torch.save({"a": made}, tmp_path / "a")
        refused(tmp_path / "a", layout)


BOMBS = {
    "memo": b"\x80\x02]r\x00\x00\x00\x08.",  # a memo number of 2^27
    "bytes": b"\x80\x02cbuiltins\nbytes\nJ\x00\xca\x9a;\x85R.",
    "bytearray": b"\x80\x02cbuiltins\nbytearray\nJ\x00\xca\x9a;\x85R.",
    "range": b"\x80\x02c__builtin__\nlist\ncbuiltins\nrange\nJ\x00\xca\x9a;\x85R\x85R.",
    "pairs": b"\x80\x02X\x01\x00\x00\x00a" + b"2\x86" * 40 + b".",  # pairs of pairs of pairs
    "marks": b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b".",
    "depth": b"\x80\x02]" + b"]" * 5000 + b"a" * 5000 + b".",
    "long": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "bytes8": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "string": b"\x80\x02T\xff\xff\xff\x7f.",
    "instructions": b"\x80\x02N" + b"0N" * 600_000 + b".",
}
# Reads each file in a fork of a process that has nothing but the libraries in memory.
MEASURE = """
import os, pickle, resource, sys
from compat.checkpoint_reader import load_checkpoint

for path in sys.argv[1:]:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        continue
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before = peak()
    try:
        load_checkpoint(path)
    except pickle.UnpicklingError:
        print("took", os.path.basename(path), (peak() - before) // 1024, flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def megabytes(tmp_path_factory):
    """What reading takes, by file; those alone that were refused."""
    folder = tmp_path_factory.mktemp("bombs")
    paths = [str(in_archive(folder / name, content)) for name, content in BOMBS.items()]
    command = [sys.executable, "-c", MEASURE, *paths]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^took (\w+) (\d+)$", done.stdout, re.MULTILINE)
    return {name: int(size) for name, size in found}


@pytest.mark.skipif(os.name == "nt", reason="no measure of memory")
@pytest.mark.parametrize("name", BOMBS)
def test_small_pickles_take_little_memory(name, megabytes):
    assert megabytes[name] < 400


class TestArchives:
    def save(self, path):
        torch.save({"state_dict": {"ctx": torch.arange(64.0)}, "epoch": 1}, path)
        return path.read_bytes()

    def test_a_flipped_bit_is_noticed_wherever_it_is_in_the_tensors(self, tmp_path):
        content = self.save(tmp_path / "a")
        start = content.index(np.arange(64, dtype="<f4").tobytes())
        for place in (start, start + 100, start + 255):
            (tmp_path / "a").write_bytes(
                content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]
            )
            refused(tmp_path / "a", "changed after it was written")

    def test_compressed_records_are_refused(self, tmp_path):
        self.save(tmp_path / "a")
        with zipfile.ZipFile(tmp_path / "a") as source:
            with zipfile.ZipFile(tmp_path / "b", "w", zipfile.ZIP_DEFLATED) as target:
                for name in source.namelist():
                    target.writestr(name, source.read(name))
        refused(tmp_path / "b", "compressed")

    def test_records_that_occur_twice_are_refused(self, tmp_path):
        self.save(tmp_path / "a")
        with zipfile.ZipFile(tmp_path / "a", "a") as archive, pytest.warns(UserWarning):
            archive.writestr(archive.namelist()[0], b"again")
        refused(tmp_path / "a", "twice")

    def test_half_a_file_is_refused(self, tmp_path):
        content = self.save(tmp_path / "a")
        for size in (0, 3, 100, len(content) // 2, len(content) - 1):
            (tmp_path / "a").write_bytes(content[:size])
            refused(tmp_path / "a", "not a readable checkpoint")

    def test_what_is_no_dict_is_refused(self, tmp_path):
        torch.save([1], tmp_path / "a")
        refused(tmp_path / "a", "holds a list, expected the dict")

    def test_programs_are_told_by_their_constants(self, tmp_path):
        assert is_torchscript(in_archive(tmp_path / "a", b"N.", **{"constants.pkl": b"N."}))
        assert not is_torchscript(in_archive(tmp_path / "b", b"N."))
        (tmp_path / "c").write_bytes(b"PK\x03\x04 and no archive")
        assert not is_torchscript(tmp_path / "c")
