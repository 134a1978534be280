from __future__ import annotations

import io
import json
import os
import re
import sys
from contextlib import contextmanager

import pytest
import torch
from dassl.utils import (
    AverageMeter,
    Logger,
    MetricMeter,
    check_isfile,
    collect_env_info,
    count_num_param,
    download_url,
    init_network_weights,
    listdir_nohidden,
    mkdir_if_missing,
    open_all_layers,
    open_specified_layers,
    read_image,
    read_json,
    set_random_seed,
    setup_logger,
    tolist_if_not,
    write_json,
)
from torch import nn

from . import fixed_in_builtin
from .toy import random_state, write_images


@contextmanager
def terminal(console=None):
    """A stand-in for the terminal; the real stdout comes back afterwards."""
    real, sys.stdout = sys.stdout, console or io.StringIO()
    try:
        yield sys.stdout
    finally:
        sys.stdout = real


# Meters


def test_average_meter():
    meter = AverageMeter()
    meter.update(1.0)
    meter.update(torch.tensor(4.0), n=2)
    assert (meter.val, meter.avg, meter.sum, meter.count) == (4.0, 3.0, 9.0, 3)
    meter.reset()
    assert (meter.val, meter.avg) == (0, 0)
    exponential = AverageMeter(ema=True)
    exponential.update(1.0)
    exponential.update(2.0)
    assert exponential.avg == pytest.approx(0.9 * 0.1 + 0.2)


def test_metric_meter():
    meters = MetricMeter()
    meters.update({"loss": 1.0, "acc": torch.tensor(50.0)})
    meters.update(None)
    meters.update({"loss": 2.0})
    assert str(meters) == "loss 2.0000 (1.5000) acc 50.0000 (50.0000)"
    assert str(MetricMeter(delimiter=", ")) == ""
    with pytest.raises(TypeError, match=r"Input to MetricMeter.update\(\) must be a dictionary"):
        meters.update(1.0)


# Seeds


def test_a_seed_fixes_every_generator():
    set_random_seed(5)
    first = random_state()
    assert random_state() != first
    set_random_seed(5)
    assert random_state() == first
    set_random_seed(0)
    assert random_state() != first


# Logger


def test_log_goes_to_terminal_and_file(tmp_path):
    with terminal() as console:
        setup_logger(str(tmp_path / "run"))
        print("hello")
        sys.stdout.flush()
        assert console.getvalue() == "hello\n"
    assert (tmp_path / "run" / "log.txt").read_text() == "hello\n"


def test_no_output_no_log():
    with terminal() as console:
        setup_logger(None)
        assert sys.stdout is console


def test_a_file_may_be_named(tmp_path):
    with terminal():
        setup_logger(str(tmp_path / "mine.log"))
        print("hello", flush=True)
    assert (tmp_path / "mine.log").read_text() == "hello\n"


def test_an_existing_log_is_kept(tmp_path):
    (tmp_path / "log.txt").write_text("first run\n")
    with terminal():
        setup_logger(str(tmp_path))
        print("second run", flush=True)
    assert (tmp_path / "log.txt").read_text() == "first run\n"
    (later,) = tmp_path.glob("log.txt-*")
    assert re.fullmatch(r"log\.txt-\d{4}(-\d\d){5}", later.name)
    assert later.read_text() == "second run\n"


@fixed_in_builtin("closes the real stdout, and lacks isatty, fileno and encoding")
def test_the_terminal_survives_the_logger(tmp_path):
    with open(tmp_path / "terminal", "w", encoding="utf-8") as console, terminal(console):
        setup_logger(str(tmp_path))
        logger = sys.stdout
        assert isinstance(logger, Logger)
        assert logger.isatty() is False
        assert logger.fileno() == console.fileno()
        assert logger.encoding == "utf-8"
        logger.writelines(["one\n", "two\n"])
        logger.close()
        assert not console.closed and sys.stdout is console
        del logger
        print("three")
    assert (tmp_path / "terminal").read_text() == "one\ntwo\nthree\n"
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\n"


@fixed_in_builtin("a second logger writes to the first file too")
def test_a_second_logger_replaces_the_first(tmp_path):
    with terminal() as console:
        setup_logger(str(tmp_path / "a"))
        setup_logger(str(tmp_path / "b"))
        print("hello", flush=True)
        assert console.getvalue() == "hello\n"
    assert (tmp_path / "a" / "log.txt").read_text() == ""
    assert (tmp_path / "b" / "log.txt").read_text() == "hello\n"


@fixed_in_builtin("keeps lines in a buffer, which a killed run loses")
def test_lines_are_in_the_file_at_once(tmp_path):
    with terminal():
        setup_logger(str(tmp_path))
        print("hello")
        assert (tmp_path / "log.txt").read_text() == "hello\n"


# Files


def test_files_and_directories(tmp_path):
    nested = tmp_path / "a" / "b"
    mkdir_if_missing(str(nested))
    mkdir_if_missing(str(nested))
    assert nested.is_dir()
    for name in ("y", "x", ".hidden"):
        (nested / name).touch()
    assert sorted(listdir_nohidden(str(nested))) == ["x", "y"]
    assert listdir_nohidden(str(nested), sort=True) == ["x", "y"]
    assert check_isfile(str(nested / "x"))
    with pytest.warns(UserWarning, match="No file found at"):
        assert not check_isfile(str(nested / "z"))


def test_json_round_trip(tmp_path):
    path = str(tmp_path / "new" / "a.json")
    write_json({"a": [1, 2.5], "b": None}, path)
    assert read_json(path) == {"a": [1, 2.5], "b": None}
    assert os.listdir(tmp_path / "new") == ["a.json"]
    with open(path) as file:
        text = file.read()
    assert text == json.dumps(json.loads(text), indent=4)


def test_read_image_gives_rgb(tmp_path):
    path = write_images(tmp_path)[0][0]
    read_image(path).convert("L").save(tmp_path / "gray.png")
    assert read_image(str(tmp_path / "gray.png")).mode == "RGB"


def test_tolist_if_not():
    assert tolist_if_not("a") == ["a"]
    assert tolist_if_not(["a"]) == ["a"]


def test_environment_for_the_log():
    text = collect_env_info()
    assert "PyTorch version" in text
    assert re.search(r"Pillow \(\d+", text)


@fixed_in_builtin("needs the package six, which it does not list")
def test_download_url(tmp_path, capsys):
    source = tmp_path / "source"
    source.write_bytes(b"weights")
    download_url(source.as_uri(), str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == b"weights"
    assert sorted(os.listdir(tmp_path)) == ["copy", "source"]


# Models


def small_net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def test_count_num_param():
    net = small_net()
    assert count_num_param(net) == 3 * 4 * 9 + 4 + 8 + 10
    assert count_num_param(params=net[2].parameters()) == 10
    assert count_num_param(params=[{"params": net[2].weight}]) == 8
    with pytest.raises(ValueError):
        count_num_param()


def test_open_layers():
    net = nn.ModuleDict({"features": nn.BatchNorm1d(2), "classifier": nn.Linear(2, 2)})
    open_specified_layers(net, "classifier")
    assert [p.requires_grad for p in net.parameters()] == [False, False, True, True]
    assert [net["features"].training, net["classifier"].training] == [False, True]
    with pytest.raises((AssertionError, ValueError), match="head is not an attribute"):
        open_specified_layers(net, ["head"])
    open_all_layers(net)
    assert all(p.requires_grad for p in net.parameters())
    assert net["features"].training


@pytest.mark.parametrize("init_type", ["normal", "xavier", "kaiming", "orthogonal"])
def test_init_network_weights(init_type):
    net = small_net()
    nn.init.constant_(net[1].weight, 7.0)
    before = net[0].weight.clone()
    init_network_weights(net, init_type)
    assert not torch.equal(net[0].weight, before)
    assert net[0].bias.tolist() == [0.0] * 4 and net[2].bias.tolist() == [0.0] * 2
    assert net[1].weight.tolist() == [1.0] * 4 and net[1].bias.tolist() == [0.0] * 4
    if init_type == "normal":
        assert net[0].weight.std().item() == pytest.approx(0.02, rel=0.3)


def test_unknown_initialisation():
    with pytest.raises((NotImplementedError, ValueError)):
        init_network_weights(small_net(), "uniform")
