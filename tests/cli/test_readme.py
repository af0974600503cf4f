"""The example of the README runs."""


def test_the_readme_runs(run_readme, tmp_path):
    run_readme("stad-cli")
    assert (tmp_path / "found.mp4").stat().st_size > 1000
    assert (tmp_path / "run" / "checkpoints" / "best.pt").exists()
