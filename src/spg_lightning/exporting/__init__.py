"""Export a checkpoint as ONNX, torch.export or OpenVINO, and localize with the exported file."""
