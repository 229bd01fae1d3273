"""From a checkpoint to a model file, as TorchScript or ONNX, with its card."""
