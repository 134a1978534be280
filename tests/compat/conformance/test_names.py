from __future__ import annotations

import importlib

import pytest

from tests.compat.conformance import PROVIDER

NAMES = {
    "dassl.config": "get_cfg_default clean_cfg cfg_default",
    "dassl.engine": "TRAINER_REGISTRY build_trainer TrainerX TrainerXU SimpleTrainer TrainerBase "
    "SimpleNet",
    "dassl.engine.trainer": "SimpleTrainer TrainerBase TrainerX TrainerXU SimpleNet",
    "dassl.data": "DataManager DatasetWrapper",
    "dassl.data.data_manager": "DataManager DatasetWrapper build_data_loader",
    "dassl.data.datasets": "DATASET_REGISTRY Datum DatasetBase build_dataset",
    "dassl.data.datasets.base_dataset": "Datum DatasetBase",
    "dassl.data.datasets.build": "DATASET_REGISTRY build_dataset",
    "dassl.data.transforms": "build_transform INTERPOLATION_MODES",
    "dassl.data.transforms.transforms": "build_transform INTERPOLATION_MODES",
    "dassl.data.samplers": "build_sampler RandomDomainSampler SeqDomainSampler RandomClassSampler",
    "dassl.evaluation": "EVALUATOR_REGISTRY build_evaluator EvaluatorBase Classification",
    "dassl.evaluation.build": "EVALUATOR_REGISTRY build_evaluator",
    "dassl.evaluation.evaluator": "EvaluatorBase Classification",
    "dassl.optim": "build_optimizer build_lr_scheduler",
    "dassl.optim.lr_scheduler": "build_lr_scheduler ConstantWarmupScheduler LinearWarmupScheduler",
    "dassl.metrics": "compute_accuracy compute_distance_matrix cosine_distance "
    "euclidean_squared_distance",
    "dassl.utils": "setup_logger Logger set_random_seed collect_env_info mkdir_if_missing "
    "listdir_nohidden check_isfile read_json write_json read_image load_checkpoint "
    "save_checkpoint resume_from_checkpoint load_pretrained_weights count_num_param "
    "open_all_layers open_specified_layers init_network_weights Registry check_availability "
    "get_most_similar_str_to_a_from_b tolist_if_not download_url AverageMeter MetricMeter",
    "dassl.modeling": "BACKBONE_REGISTRY HEAD_REGISTRY NETWORK_REGISTRY Backbone build_backbone "
    "build_head build_network",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_a_plugin_imports(module):
    found = importlib.import_module(module)
    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []


def test_datum_lives_where_pickled_lists_look_for_it():
    from dassl.data.datasets import Datum

    assert Datum.__module__ == "dassl.data.datasets.base_dataset"


@pytest.mark.skipif(PROVIDER == "stock", reason="stock Dassl has these names")
@pytest.mark.parametrize(
    "statement",
    [
        "from dassl.engine import FixMatch",
        "from dassl.data.datasets import OfficeHome",
        "import dassl.engine.ssl",
    ],
)
def test_names_the_core_lacks_are_explained(statement):
    with pytest.raises(ImportError, match=r"not part of the built-in Dassl core.*Install Dassl"):
        exec(statement)


@pytest.mark.skipif(PROVIDER == "stock", reason="stock Dassl brings its own networks")
def test_the_core_brings_no_networks():
    from dassl.modeling import BACKBONE_REGISTRY, HEAD_REGISTRY, NETWORK_REGISTRY

    for registry in (BACKBONE_REGISTRY, HEAD_REGISTRY, NETWORK_REGISTRY):
        found = [registry.get(name).__module__ for name in registry.registered_names()]
        assert [module for module in found if module.startswith("dassl")] == []
