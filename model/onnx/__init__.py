"""The second format of a model: an ONNX graph made by hand from the weights, which ONNX Runtime runs.

TorchScript is deprecated upstream, and its users need torch. A graph of ONNX runs in a dozen languages, and gives tags:
the recurrent stack and the CRF are both in it. It wants the extra `teddy[onnx]`; only `teddy.model.onnx.archive`, which
reads what a file says of itself, does without.
"""
