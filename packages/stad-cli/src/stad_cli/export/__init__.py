"""Detectors as files that run without this program's networks: torch.export and ONNX.

A detector is cut where its weights end. What computes with weights becomes graphs, each with a
batch of any size; what makes boxes of their outputs (decoding, suppression, scores) stays Python
and is the detector's own code, which `exported.load_exported` puts around the graphs again.
"""
