"""Studies: one recipe in several settings, each with several seeds, and the table they make.

study file ──study_file──▶ Study ──study_run──▶ StudyRuns (recipe, seed, settings)
└─runs──▶ processes of `study.child` ──▶ results/<row>-seed<k>.json
└─table──▶ table.md, .tex, .json ──plot──▶ table.png
"""
