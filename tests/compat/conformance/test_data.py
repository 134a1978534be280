from __future__ import annotations

import pickle
import random
from copy import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from dassl.data import DataManager, DatasetWrapper
from dassl.data.data_manager import build_data_loader
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.data.samplers import build_sampler
from PIL import Image

from . import PROVIDER, fixed_in_builtin
from .toy import ConformanceColours, toy_cfg, write_images


class Item:
    def __init__(self, label=0, domain=0, impath="", classname=""):
        self.label, self.domain, self.impath, self.classname = label, domain, impath, classname


@DATASET_REGISTRY.register()
class ConformanceMultiLabel(DatasetBase):
    """float32 multi-hot labels [C], the class list fixed by overriding the two statics."""

    names = ["red", "green", "blue", "never seen"]

    def __init__(self, cfg):
        items = []
        for path, label, _ in write_images(Path(cfg.DATASET.ROOT)):
            target = np.zeros(len(self.names), np.float32)
            target[[label, 0]] = 1.0
            target[3] = -1.0
            items.append(Datum(path, target))
        super().__init__(train_x=items, test=items)

    def get_num_classes(self, data_source):
        return len(self.names)

    def get_lab2cname(self, data_source):
        return dict(enumerate(self.names)), self.names


# Datum and DatasetBase


def test_datum_is_read_only_and_needs_an_existing_file(tmp_path):
    path, label, name = write_images(tmp_path)[0]
    datum = Datum(path, label, 7, name)
    assert (datum.impath, datum.label, datum.domain, datum.classname) == (path, 0, 7, "red")
    with pytest.raises(AttributeError):
        datum.label = 1
    with pytest.raises((AssertionError, TypeError)):
        Datum(Path(path))
    with pytest.warns(UserWarning, match="No file found"):
        with pytest.raises((AssertionError, FileNotFoundError)):
            Datum(str(tmp_path / "none.png"))


def test_pickled_datum_has_the_attributes_of_dassls(tmp_path):
    datum = Datum(write_images(tmp_path)[0][0], 2, 1, "blue")
    assert set(vars(datum)) == {"_impath", "_label", "_domain", "_classname"}
    again = pickle.loads(pickle.dumps([datum]))[0]
    assert vars(again) == vars(datum)


def test_classes_come_from_the_training_items(tmp_path):
    dataset = ConformanceColours(toy_cfg(tmp_path))
    assert dataset.num_classes == 3
    assert dataset.lab2cname == {0: "red", 1: "green", 2: "blue"}
    assert dataset.classnames == ["red", "green", "blue"]
    assert dataset.train_u is None and len(dataset.val) == 6 and len(dataset.test) == 12


def test_the_largest_label_counts():
    items = [Item(5, classname="f"), Item(2, classname="c")]
    dataset = DatasetBase(train_x=items, test=items)
    assert dataset.num_classes == 6
    assert dataset.classnames == ["c", "f"]


def test_multi_label_targets_reach_the_batch_with_the_statics_overridden(tmp_path):
    cfg = toy_cfg(tmp_path, "DATASET.NAME", "ConformanceMultiLabel")
    manager = DataManager(cfg)
    assert (manager.num_classes, manager.lab2cname[3]) == (4, "never seen")
    assert manager.val_loader is None and manager.train_loader_u is None
    batch = next(iter(manager.test_loader))
    assert batch["label"].dtype == torch.float32
    assert batch["label"].shape == (12, 4)
    assert batch["label"][-1].tolist() == [1.0, 0.0, 1.0, -1.0]


@pytest.mark.parametrize("label", [np.zeros(3, np.float32), [0, 1], torch.zeros(3)])
def test_multi_label_targets_fail_without_overriding(label):
    items = [Item(copy(label), classname="x"), Item(copy(label), classname="y")]
    with pytest.raises((TypeError, RuntimeError)):
        DatasetBase(train_x=items, test=items)


@pytest.mark.skipif(PROVIDER == "stock", reason="stock Dassl: 'unhashable type' and no advice")
def test_the_core_says_what_a_multi_label_set_must_override():
    items = [Item(np.zeros(3, np.float32))]
    with pytest.raises(TypeError, match="multi-label data set overrides get_num_classes"):
        DatasetBase(train_x=items, test=items)
    with pytest.raises(ValueError, match="train_x is empty"):
        DatasetBase(test=[Item()])


def test_few_shots_are_those_dassl_draws(capsys):
    dataset = DatasetBase([Item(0)], test=[])
    items = [Item(label, impath=f"{label}{number}") for label in "ab" for number in range(5)]
    assert dataset.generate_fewshot_dataset(items) is items
    assert dataset.generate_fewshot_dataset(items, items[:2]) == (items, items[:2])
    random.seed(3)
    drawn = dataset.generate_fewshot_dataset(items, num_shots=2)
    assert " ".join(item.impath for item in drawn) == "a1 a4 b2 b3"
    assert "Creating a 2-shot dataset" in capsys.readouterr().out
    two = dataset.generate_fewshot_dataset(items, items[:1], num_shots=3, repeat=True)
    assert [len(part) for part in two] == [6, 3]
    assert len(dataset.generate_fewshot_dataset(items[:1], num_shots=3)) == 1


def test_few_shots_refuse_multi_label_targets():
    dataset = DatasetBase([Item(0)], test=[])
    with pytest.raises(TypeError):
        dataset.generate_fewshot_dataset([Item(np.zeros(3, np.float32))], num_shots=1)


@fixed_in_builtin("groups label tensors by identity, so that every item is a class of its own")
def test_few_shots_refuse_label_tensors():
    dataset = DatasetBase([Item(0)], test=[])
    with pytest.raises(TypeError):
        dataset.generate_fewshot_dataset([Item(torch.zeros(3))], num_shots=1)


def test_items_by_domain():
    dataset = DatasetBase([Item(0)], test=[])
    dataset.domains = ["photo", "sketch"]
    groups = dataset.split_dataset_by_domain([Item(domain=1), Item(domain=0), Item(domain=1)])
    assert {domain: len(items) for domain, items in groups.items()} == {0: 1, 1: 2}
    dataset.check_input_domains(["photo"], ["sketch"])
    with pytest.raises(ValueError, match=r"Input domain must belong to .* but got \[art\]"):
        dataset.check_input_domains(["photo"], ["art"])


# Loaders


@pytest.mark.parametrize(
    ("n_items", "is_train", "batches"), [(12, True, 2), (12, False, 3), (3, True, 1), (5, True, 1)]
)
def test_the_last_training_batch_is_dropped_unless_it_is_the_only_one(
    tmp_path, n_items, is_train, batches
):
    cfg = toy_cfg(tmp_path)
    items = ConformanceColours(cfg).train_x[:n_items]
    loader = build_data_loader(
        cfg, data_source=items, batch_size=5, tfm=lambda image: 0, is_train=is_train
    )
    assert len(loader) == len(list(loader)) == batches


def test_an_empty_split_is_refused(tmp_path):
    with pytest.raises((AssertionError, ValueError)):
        build_data_loader(toy_cfg(tmp_path), data_source=[], is_train=False)


def test_data_manager_serves_every_split(tmp_path, capsys):
    options = ["DATASET.SOURCE_DOMAINS", ("unlabelled", "photo"), "VERBOSE", True]
    manager = DataManager(toy_cfg(tmp_path, *options))
    assert manager.num_source_domains == 2
    sizes = [manager.train_loader_x, manager.train_loader_u, manager.val_loader]
    assert [len(loader.dataset) for loader in sizes] == [12, 5, 6]
    assert manager.test_loader.batch_size == 32
    assert manager.dataset.classnames == ["red", "green", "blue"]
    printed = capsys.readouterr().out
    for row in ("Dataset", "# classes", "# train_x", "# train_u", "# val", "# test"):
        assert row in printed


def test_unlabelled_loader_has_its_own_settings_if_asked(tmp_path):
    options = ["DATASET.SOURCE_DOMAINS", ("unlabelled",), "DATALOADER.TRAIN_U.BATCH_SIZE", 2]
    assert DataManager(toy_cfg(tmp_path, *options)).train_loader_u.batch_size == 6
    options += ["DATALOADER.TRAIN_U.SAME_AS_X", False]
    assert DataManager(toy_cfg(tmp_path, *options)).train_loader_u.batch_size == 2


def test_custom_transforms_and_wrapper_are_used(tmp_path, capsys):
    class Captions(DatasetWrapper):
        def __getitem__(self, index):
            return {**super().__getitem__(index), "caption": "a square"}

    manager = DataManager(
        toy_cfg(tmp_path),
        custom_tfm_train=lambda image: torch.tensor(1),
        custom_tfm_test=[lambda image: torch.tensor(2), lambda image: torch.tensor(3)],
        dataset_wrapper=Captions,
    )
    assert next(iter(manager.train_loader_x))["img"].tolist() == [1] * 6
    batch = next(iter(manager.test_loader))
    assert batch["img"][0] == 2 and batch["img2"][0] == 3
    assert batch["caption"][0] == "a square"
    printed = capsys.readouterr().out
    assert "* Using custom transform for training\n" in printed
    assert "* Using custom transform for testing\n" in printed


def test_wrapper_gives_item_and_image(tmp_path):
    cfg = toy_cfg(tmp_path, "DATALOADER.RETURN_IMG0", True, "DATALOADER.K_TRANSFORMS", 2)
    items = ConformanceColours(cfg).train_x
    output = DatasetWrapper(cfg, items, transform=lambda image: image.size, is_train=True)[4]
    assert output["img"] == [(12, 10), (12, 10)]
    assert output["img0"].shape == (3, 8, 8)
    assert (output["label"], output["domain"], output["index"]) == (1, 0, 4)
    assert output["impath"] == items[4].impath

    test = DatasetWrapper(cfg, items, transform=lambda image: image.size)[4]
    assert test["img"] == (12, 10)
    assert isinstance(DatasetWrapper(cfg, items)[0]["img"], Image.Image)
    with pytest.raises(ValueError, match="Cannot augment the image 2 times"):
        DatasetWrapper(cfg, items, is_train=True)


# Samplers


def test_plain_samplers():
    assert list(build_sampler("SequentialSampler", data_source=[Item()] * 3)) == [0, 1, 2]
    torch.manual_seed(0)
    order = list(build_sampler("RandomSampler", data_source=[Item()] * 5))
    assert sorted(order) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="Unknown sampler type: Shuffled"):
        build_sampler("Shuffled", data_source=[])


@pytest.mark.parametrize("name", ["RandomDomainSampler", "SeqDomainSampler"])
def test_domain_samplers_balance_each_batch(name):
    items = [Item(domain=domain) for domain in [0] * 7 + [1] * 5 + [2] * 4]
    random.seed(0)
    sampler = build_sampler(name, data_source=items, batch_size=6, n_domain=0)
    indices = list(sampler)
    assert len(indices) == len(set(indices)) == len(sampler) == 12
    for start in (0, 6):
        batch = [items[index].domain for index in indices[start : start + 6]]
        assert sorted(batch) == [0, 0, 1, 1, 2, 2]
        if name == "SeqDomainSampler":
            assert batch == [0, 0, 1, 1, 2, 2]


def test_random_domain_sampler_draws_some_domains():
    items = [Item(domain=domain) for domain in range(4) for _ in range(9)]
    random.seed(0)
    indices = list(
        build_sampler("RandomDomainSampler", data_source=items, batch_size=6, n_domain=2)
    )
    for start in range(0, len(indices), 6):
        assert len({items[index].domain for index in indices[start : start + 6]}) == 2


def test_class_sampler_balances_each_batch():
    items = [Item(label) for label in [0] * 6 + [1] * 5 + [2] * 1]
    random.seed(0)
    np.random.seed(0)
    sampler = build_sampler("RandomClassSampler", data_source=items, batch_size=4, n_ins=2)
    indices = list(sampler)
    assert len(indices) % 4 == 0 and len(indices) > 0
    for start in range(0, len(indices), 4):
        labels = [items[index].label for index in indices[start : start + 4]]
        assert labels[0] == labels[1] != labels[2] == labels[3]
    with pytest.raises(ValueError, match="batch_size=1 must be no less than n_ins=2"):
        build_sampler("RandomClassSampler", data_source=items, batch_size=1, n_ins=2)
    with pytest.raises((AssertionError, ValueError)):
        build_sampler("RandomClassSampler", data_source=items, batch_size=8, n_ins=2)
