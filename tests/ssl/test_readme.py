def test_readme_example_runs(run_readme):
    names = run_readme("stad-ssl")
    assert names["teacher"].updates == 20
