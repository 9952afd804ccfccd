"""What each package of `tlkeras.extras` defines, so that the core finds it by name."""

import dataclasses
import inspect
import json
import subprocess
import sys
import zipfile
from pkgutil import resolve_name

import pytest

from tlkeras.backbones.registry import custom_layers, get_backbone_spec, get_provider, providers
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.train import TrainConfig
from tlkeras.errors import UserError
from tlkeras.extras.hub.spec import module_spec
from tlkeras.extras.kerashub.spec import encoder_spec

SPECS = {"hub": module_spec("hub:any"), "kerashub": encoder_spec("kerashub:any")}


def test_the_packages_are_found():
    assert {package.__name__.rpartition(".")[2] for package in providers()} == set(SPECS)
    with pytest.raises(UserError, match="timm:…, but nothing in this project begins with timm:"):
        get_backbone_spec("timm:resnet50")


def test_importing_them_does_not_load_tensorflow():
    code = "import sys; from tlkeras.backbones.registry import providers; providers(); print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", SPECS)
def test_the_interface(name):
    package, spec = get_provider(name), SPECS[name]
    for function, parameters in (("find_spec", 1), ("spec_of", 1), ("check_installed", 0)):
        assert len(inspect.signature(getattr(package, function)).parameters) == parameters
    assert isinstance(spec, BackboneSpec) and spec.provider == name
    assert set(spec.own_options) <= {entry.name for entry in dataclasses.fields(TrainConfig)}
    builder = inspect.signature(resolve_name(spec.builder)).parameters
    assert list(builder) == ["spec", "weights", "image_size", "precision", "resize"]


@pytest.mark.parametrize("name", SPECS)
def test_the_layers_of_a_saved_model(name, tmp_path):
    [(layer, module)] = get_provider(name).LAYERS.items()
    assert issubclass(resolve_name(f"{module}:{layer}"), resolve_name("keras:Layer"))
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": layer, "registered_name": f"tlkeras>{layer}"}))
    assert custom_layers(tmp_path / "model.keras") == [module]
