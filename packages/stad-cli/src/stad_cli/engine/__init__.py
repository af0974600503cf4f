"""Everything with side effects between a recipe and a run folder: training and evaluation."""
