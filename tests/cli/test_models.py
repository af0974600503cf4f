"""`stad models`: names, costs, and what it says about a name that is none."""

import json

import pytest


def test_flops_as_json_in_units_of_one(stad):
    outcome = stad("models", "flops", "se_stad_slowonly_r50_4x16", "--size", "256", "--json")
    assert outcome.code == 0
    cost = json.loads(outcome.out)
    assert set(cost) == {"model", "macs", "params"}
    parts = {"total", "backbone", "neck", "localisation_head", "action_head"}
    for counts in (cost["macs"], cost["params"]):
        assert set(counts) == parts
        assert all(type(value) is int and value > 0 for value in counts.values())
        assert counts["total"] == sum(counts[part] for part in parts - {"total"})
    assert cost["model"] == "se_stad_slowonly_r50_4x16"


def test_a_trunk_has_a_backbone_alone_and_its_published_cost(stad):
    cost = json.loads(stad("models", "flops", "slowonly_r50_4x16", "--json").out)
    assert set(cost["macs"]) == {"total", "backbone"}
    # Published: 41.7 billion for 4 frames at 256x256 with the strides of the AVA detectors.
    assert cost["macs"]["total"] == pytest.approx(41.7e9, rel=0.005)


def test_rules_sizes_and_frames_change_the_count(stad):
    def total(*options):
        outcome = stad("models", "flops", "se_stad_slowonly_r50_4x16", "--json", *options)
        return json.loads(outcome.out)["macs"]["total"]

    usual = total()
    assert total("--rule", "paper") > usual
    assert total("--size", "128") < 0.3 * usual
    assert total("--frames", "8") > 1.5 * usual


def test_the_table_ends_with_the_total(stad):
    outcome = stad("models", "flops", "se_stad_slowonly_r50_4x16")
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1].startswith("total")


def test_list_shows_every_model(stad):
    from stad_models import zoo

    outcome = stad("models", "list", "--size", "64")
    assert outcome.code == 0
    rows = [line.split("│") for line in outcome.out.splitlines()]
    clips = {cells[1].strip(): cells[2].strip() for cells in rows if len(cells) > 3}
    assert clips.keys() == set(zoo.__all__)
    for trunk, clip in clips.items():  # a detector is made for its trunk's clips
        assert clips.get(f"se_stad_{trunk}", clip) == clip, trunk
    listed = json.loads(stad("models", "list", "--size", "64", "--json").out)
    assert [entry["model"] for entry in listed] == sorted(zoo.__all__)
    # Capsules are convolved without padding, which 64 pixels are too few for.
    without = {entry["model"] for entry in listed if entry["macs"] is None}
    assert all(name.startswith("video_capsule") for name in without)


def test_an_unknown_model_gets_the_nearest_names(stad):
    outcome = stad("models", "flops", "slowfast_50_8x8")
    assert outcome.code == 2
    assert outcome.out == ""
    assert "slowfast_r50_8x8" in outcome.err
    assert "slowfast_50_8x8" in outcome.err
    assert "stad models list" in outcome.err


def test_a_clip_that_a_model_cannot_take_is_the_users_mistake(stad):
    outcome = stad("models", "flops", "slowfast_r50_8x8", "--frames", "3")
    assert outcome.code == 2
    assert "3 frames" in outcome.err
    assert "Traceback" not in outcome.err
