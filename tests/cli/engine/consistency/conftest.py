"""A recipe for a VideoCapsule of a few thousand weights."""

from collections.abc import Callable

import pytest

from stad_cli.config import Recipe, load_recipe

RECIPE = """
[model]
name = "video_capsule_tiny"
[model.options]
types = 2
width = 4
routing = 2
margin_steps = 4
[model.options.trunk]
width = 0.06

[data]
dataset = "jhmdb"
size = [64, 48]
cache = true

[clip]
form = "map"
length = 8
stride = 1

[augment]
flip = 0.5
brightness = 0.1

[optim]
name = "adam"
lr = 0.002
steps = 4
batch = 1
weight_decay = 0.0

[eval]
every = 0

[run]
workers = 0
threads = 1
checkpoint_every = 2
log_every = 1
"""

HALF = ("method.name=consistency", "data.labelled=0.5")


@pytest.fixture(scope="session")
def map_recipe(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Recipe]:
    """`map_recipe("optim.steps=3", ...)`: the recipe with overrides."""
    path = tmp_path_factory.mktemp("capsule") / "small.toml"
    path.write_text(RECIPE)
    return lambda *overrides: load_recipe(path, overrides)


@pytest.fixture(scope="session")
def half_recipe(map_recipe) -> Callable[..., Recipe]:
    """The same by consistency, with half of the videos labelled."""
    return lambda *overrides: map_recipe(*HALF, *overrides)
