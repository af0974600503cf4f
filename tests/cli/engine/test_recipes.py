"""Every recipe that comes with the program: its model is built, and the published numbers hold."""

import tomllib

import pytest
import torch

from stad_cli.config import RECIPES, load_recipe, recipe_names
from stad_cli.engine.detector import build_detector, check_channels
from stad_data import ActionClasses
from stad_eval import InputError
from stad_models.detectors.moc import MocOptions
from stad_models.detectors.stma_options import StmaOptions

CLASSES = ActionClasses(names=("walk", "sit", "wave"), ids=(1, 2, 3), exclusive=False)
PUBLISHED = [name for name in recipe_names() if name.startswith("se_stad_slow")]


def built(recipe):
    with torch.device("meta"):
        return build_detector(recipe.model, recipe.clip, CLASSES)


@pytest.mark.parametrize("name", recipe_names())
def test_its_model_is_built_for_its_clips(name):
    recipe = load_recipe(name)
    model = built(recipe)
    assert model.num_classes == 3
    if recipe.clip.form == "keyframe":
        assert (model.clip_length, model.clip_stride) == (recipe.clip.length, recipe.clip.stride)


def test_the_published_set_is_complete():
    found = {name.removeprefix("se_stad_") for name in PUBLISHED}
    assert found >= {
        "slowonly_r50_ava",
        "slowfast_r50_ava",
        "slowfast_r101_ava",
        "slowfast_r101_nl_ava",
        "slowfast_r50_jhmdb",
        "slowfast_r101_nl_jhmdb",
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes_have_the_papers_numbers(name):
    recipe = load_recipe(name)
    optim, augment = recipe.optim, recipe.augment
    assert (optim.name, optim.lr, optim.schedule, optim.batch) == ("sgd", 0.075, "cosine", 6)
    assert optim.steps in (20_000, 40_000)  # the burn-in alone, or all
    assert (augment.short_side, augment.crop, augment.flip) == ((256, 320), 256, 0.5)
    assert recipe.data.short_side == (320 if name == "se_stad_slowfast_r101_ava" else 256)
    options = built(recipe).options
    assert (options.train_score, options.train_proposals, options.positive_iou) == (0.3, 100, 0.5)
    assert (options.test_score, options.test_nms, options.max_actors) == (0.4, 0.3, 10)
    assert (options.action_threshold, options.action_weight) == (0.002, 10.0)
    weights = RECIPES.joinpath(f"{name}.toml").read_text().split("about =")[0]
    assert "Kinetics-" in weights
    assert "--weights FILE" in weights


TUBELETS = [f"{model}_{data}" for model in ("moc_dla34", "stma") for data in ("ucf24", "jhmdb")]


@pytest.mark.parametrize("name", TUBELETS)
def test_published_recipes_of_tubelets_have_the_papers_numbers(name):
    recipe, model = load_recipe(name), built(load_recipe(name))
    optim = recipe.optim
    assert (optim.name, optim.weight_decay, optim.lr) == ("adamw", 0.0, 1e-4)
    assert (optim.schedule, optim.batch * 8) == ("cosine", 24)
    epochs, windows = (16, 327_763) if name.endswith("ucf24") else (12, 20_072)
    assert optim.steps == pytest.approx(epochs * windows / 24, abs=10)
    assert (recipe.data.size, recipe.clip.tubelet, recipe.clip.stride) == ((288, 288), 5, 1)
    assert model.tubelet_length == 5
    if name.startswith("stma"):
        assert (recipe.clip.length, model.clip_backbone.frame_stride) == (16, 16)
        assert model.options == StmaOptions(regression_weight=0.5, max_tubelets=10)
    else:
        assert model.options == MocOptions()


def test_both_streams_of_moc_are_a_setting_of_its_recipe():
    both = ["model.name=moc_dla34_two_stream", "data.flow=FLOW"]
    recipe = load_recipe("moc_dla34_ucf24", [*both, "clip.length=13"])
    model = built(recipe)
    check_channels(model, recipe)
    assert model.channels_in == 18
    with pytest.raises(InputError, match=r"set clip\.length to 13"):
        load_recipe("moc_dla34_ucf24", both)
    with pytest.raises(InputError, match="needs optical flow"):
        check_channels(model, load_recipe("moc_dla34_ucf24"))
    colour = load_recipe("moc_dla34_ucf24", ["data.flow=FLOW", "clip.length=13"])
    with pytest.raises(InputError, match="moc_dla34 takes no optical flow"):
        check_channels(built(colour), colour)
    with pytest.raises(InputError, match=r'data\.flow needs .* form = "tubelet"'):
        load_recipe("se_stad_tiny_jhmdb", ["data.flow=FLOW"])


def test_switches_and_lengths_of_stma_are_options_of_its_recipes():
    for row in ("motion_excitation", "aggregation", "gaussian_size", "gaussian_movement"):
        off = load_recipe("stma_tiny_synthetic", [f"model.options.{row}=false"])
        assert getattr(built(off).options, row) is False
    for length in (1, 3, 5, 7):
        for name in ("stma_tiny_synthetic", "stma_ucf24", "moc_dla34_jhmdb"):
            changes = [f"clip.tubelet={length}", "clip.length=16"]
            assert built(load_recipe(name, changes)).tubelet_length == length


def test_rows_of_the_tables_are_options_of_the_published_and_the_small_recipe():
    rows = [
        *(
            f"localisation={head}"
            for head in ("fcos_original", "retinanet", "rpn_rcnn", "gfocal_v2")
        ),
        *(f"train_inputs={inputs}" for inputs in ("truth", "sparse", "dense")),
        *(f"action_weight={weight}" for weight in (1.0, 10.0, 20.0)),
        *(f"action={head}" for head in ("acrn", "scene")),
        *(f"pyramid={maps}" for maps in ("res34", "res345")),
    ]
    for row in rows:
        load_recipe("se_stad_slowfast_r50_ava", [f"model.options.{row}"])  # checks names and types
        built(load_recipe("se_stad_tiny_study", [f"model.options.{row}"]))
    ranges = "ranges=[[0, 16], [16, 32], [32, 64], [64, 1e6]]"
    four = ["model.options.pyramid=res234", f"model.options.{ranges}"]
    assert len(built(load_recipe("se_stad_tiny_study", four)).neck.strides) == 4
    assert len(built(load_recipe("se_stad_slowfast_r50_ava", four[:1])).neck.strides) == 4


def test_the_small_recipe_has_the_papers_strides():
    model = built(load_recipe("se_stad_tiny_study"))
    assert dict(model.backbone.strides) == {
        "res2": 4,
        "res3": 8,
        "res4": 16,
        "res5": 16,
        "clip": 16,
    }
    assert model.neck.strides == (8, 16, 32)


@pytest.mark.parametrize("name", recipe_names())
def test_it_says_what_it_is(name):
    table = tomllib.loads(RECIPES.joinpath(f"{name}.toml").read_text())
    assert table["about"]
