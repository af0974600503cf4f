import tomllib
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_cli import toml_text
from stad_cli.config import Recipe, load_recipe, parse_recipe, recipe_names
from stad_eval import InputError

keys = st.text(min_size=1, max_size=8)
scalars = st.one_of(
    st.text(max_size=12),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
tables = st.recursive(
    st.dictionaries(keys, values, max_size=3),
    lambda inner: st.dictionaries(keys, st.one_of(values, inner), max_size=3),
    max_leaves=6,
)


@given(tables)
@settings(deadline=None, max_examples=50)
def test_written_toml_reads_back_equal(table):
    assert tomllib.loads(toml_text.write(table)) == table


def test_toml_writer_refuses_what_toml_lacks():
    with pytest.raises(TypeError, match="NoneType"):
        toml_text.write({"a": None})


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_and_its_resolved_form_is_the_same_recipe(name, tmp_path):
    recipe = load_recipe(name)
    assert recipe.name == name
    resolved = tmp_path / "recipe.toml"
    resolved.write_text(recipe.to_toml())
    assert load_recipe(resolved) == recipe
    assert parse_recipe(recipe.model_dump(exclude_none=True)) == recipe


def test_published_settings_are_the_papers():
    recipe = load_recipe("se_stad_slowfast_r50_ava")
    optim = recipe.optim
    assert (optim.name, optim.lr, optim.steps, optim.schedule) == ("sgd", 0.075, 40_000, "cosine")
    assert optim.batch * 8 == 48
    assert (recipe.data.short_side, recipe.augment.short_side, recipe.augment.crop) == (
        256,
        (256, 320),
        256,
    )
    options = recipe.model.options
    assert (options["train_score"], options["train_proposals"]) == (0.3, 100)
    assert (options["test_score"], options["test_nms"]) == (0.4, 0.3)
    assert (options["action_threshold"], options["max_actors"]) == (0.002, 10)


def test_only_defaults_of_none_may_be_left_out_of_a_resolved_recipe():
    # TOML has no null: a field that can be None must have None as its default.
    def check(model):
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
                check(field.annotation)
            elif type(None) in get_args(field.annotation):
                assert field.default is None, name

    check(Recipe)


def test_overrides_are_toml_values_or_bare_words():
    changed = load_recipe(
        "se_stad_tiny_demo",
        ["optim.lr=0.5", "optim.name = sgd", "data.size=[32, 16]", "model.options.test_score=0.1"],
    )
    assert changed.optim.lr == 0.5
    assert changed.optim.name == "sgd"
    assert changed.data.size == (32, 16)
    assert changed.model.options["test_score"] == 0.1


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optim.learning_rate=3", ["unknown recipe key optim.learning_rate"]),
        ("optim.weigth_decay=3", ["optim.weigth_decay", "weight_decay"]),
        ("optin.lr=3", ["unknown recipe key optin", "optim"]),
        ("optim.lr=fast", ["optim.lr", "number", "'fast'"]),
        ("optim.lr=-1", ["optim.lr", "greater than 0", "-1"]),
        ("optim.steps=0", ["optim.steps", "0"]),
        ("optim.schedule=linear", ["optim.schedule", "'cosine'", "'linear'"]),
        ("optim.schedule=step", ["milestones"]),
        ("optim=3", ["optim", "3"]),
        ("data.short_side=64", ["one of size", "short_side"]),
        ("augment.crop=64", ["short_side", "crop"]),
        ("augment.stride=[3,2]", ["stride must be [low, high]"]),
        ("augment.hue=0.7", ["augment.hue", "0.7"]),
        ("model.options.test_vote=2.0", ["test_vote", "2.0"]),
        ("data.size=[0,4]", ["data.size", "0"]),
        ("model.name=se_stad_tny", ["unknown model", "se_stad_tiny"]),
        ("model.options.test_scor=0.1", ["unknown option test_scor", "test_score"]),
        ("model.options.test_score=high", ["model.options.test_score", "'high'"]),
        ("model.options.score=best", ["model.options", "best"]),
        ("model.options.trunk.width=3", ["trunk.width", "widths"]),
        ("model.options.trunk.widths=[1,2]", ["trunk.widths", "[1, 2]"]),
        ("model.options.trunk.stem_width=0", ["model.options.trunk", "positive"]),
        ("model.options.trunk=3", ["[model.options.trunk]", "PathwayShape"]),
        ("name.x=3", ["name"]),
        ("lr", ["section.key=value"]),
    ],
)
def test_a_bad_override_is_named_with_what_would_be_right(override, words):
    with pytest.raises(InputError) as caught:
        load_recipe("se_stad_tiny_demo", [override])
    for word in words:
        assert word in str(caught.value)


def test_unknown_recipe_missing_file_and_bad_toml(tmp_path):
    with pytest.raises(InputError, match="did you mean se_stad_tiny_demo"):
        load_recipe("se_stad_tiny_dmo")
    with pytest.raises(InputError, match=r"gone\.toml.*no such recipe"):
        load_recipe(tmp_path / "gone.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("[model\nname = 3")
    with pytest.raises(InputError, match=r"bad\.toml.*no valid TOML"):
        load_recipe(bad)
    bad.write_text('[model]\nname = "se_stad_tiny"')
    with pytest.raises(InputError, match=r"lacks data"):
        load_recipe(str(bad))
