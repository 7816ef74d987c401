from pathlib import Path

import pytest
import torch

from leanseg.errors import UnknownNameError
from leanseg.networks import NETWORKS, build_network


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_keeps_the_contract(name: str) -> None:
    test = Path(__file__).with_name(f"test_{name}.py")
    assert test.is_file() and "(NetworkContract):" in test.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_built_from_the_json_of_its_default_config(name: str) -> None:
    network, config_type = NETWORKS[name]
    # by default it wants a folder of weights, which nobody ships
    without_folder = {"random_backbone": True} if name == "med_tuning" else {}
    with torch.device("meta"):
        assert isinstance(build_network(name, config_type().to_json() | without_folder), network)


def test_a_network_that_does_not_exist_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no network named 'attention_net'\. Did you mean 'attention_unet'"):
        build_network("attention_net", {})


def test_a_config_field_that_does_not_exist_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no key in .*attention_unet named 'width'\. Did you mean 'widths'"):
        build_network("attention_unet", {"width": [2, 4]})
