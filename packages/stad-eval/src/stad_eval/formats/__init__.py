"""Readers and writers of the files that ground truth and detections come in."""

from stad_eval.formats import ava_csv, detections_json, label_map, safe_pickle

__all__ = ["ava_csv", "detections_json", "label_map", "safe_pickle"]
