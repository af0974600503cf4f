def test_readme_example_runs(run_readme):
    names = run_readme("stad-ssl")
    assert names["teacher"].updates == 20
    assert names["pseudo"].proposal.tolist() == [0, 1]
    assert names["pseudo"].labels.tolist() == [[1, 0, 0], [0, 1, 0]]
