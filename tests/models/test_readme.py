def test_the_readmes_example_runs(run_readme):
    names = run_readme("stad-models")
    assert set(names["losses"]) == {"actor_class", "actor_box", "actor_centerness", "action"}
    assert len(names["detections"]) == 2
