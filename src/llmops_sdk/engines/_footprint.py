"""The bytes and operations of a model: what its weights take, what a step reads of them, what the KV cache keeps."""

from __future__ import annotations

import math

from llmops_sdk.engines._architecture import Architecture, Layer, Quantisation
from llmops_sdk.engines._checkpoints import Tensor

__all__ = ["Weights"]

_SCALES = (".weight_scale", ".weight_scale_inv", ".input_scale", ".k_scale", ".v_scale", ".weight_shape")
_PLAIN_DTYPES = {"F16", "BF16", "F32", "F8_E4M3", "F8_E5M2"}


class Weights:
    """The bytes of a model's weights, as a whole and as a step reads them."""

    def __init__(
        self,
        architecture: Architecture,
        tensors: tuple[Tensor, ...],
        quantisation: Quantisation | None,
        stored_so: bool,
        dtype_bits: int | None,
    ) -> None:
        self.architecture = architecture
        self.quantisation = quantisation
        # "auto" loads float32 checkpoints as 16 bits, as vLLM does.
        self.bits = dtype_bits or 16
        self.assumptions = list(architecture.assumptions)
        self.stored = self._sum(quantisation if stored_so else None, architecture.stored_bits)
        formula = self.loaded = self._sum(quantisation, self.bits)
        self.parameters, self.counted_from = architecture.parameters, "formula"
        if tensors:
            self.stored = sum(tensor.size for tensor in tensors)
            self._count(tensors)
            if stored_so:
                self.loaded = sum(self._loaded(tensor) for tensor in tensors)
        self._scale = self.loaded / formula
        if architecture.parts_left_out and not tensors:
            self.assumptions.append(f"only the text model is counted, not: {', '.join(architecture.parts_left_out)}")

    def _loaded(self, tensor: Tensor) -> int:
        if tensor.dtype in {"F16", "BF16", "F32"} and not tensor.name.endswith(_SCALES):
            return tensor.elements * self.bits // 8
        return tensor.size

    @property
    def active_parameters(self) -> int:
        """Those that a token needs."""
        idle = self.architecture.parameters - self.architecture.active_parameters
        return self.parameters - idle

    def quantised(self, quantisation: Quantisation) -> Weights:
        """The same model with other weights."""
        return Weights(self.architecture, (), quantisation, stored_so=False, dtype_bits=self.bits)

    def _count(self, tensors: tuple[Tensor, ...]) -> None:
        real = [t for t in tensors if not t.name.endswith(_SCALES)]
        if all(t.dtype in _PLAIN_DTYPES for t in real):
            formula = self.architecture.parameters
            self.parameters, self.counted_from = sum(t.elements for t in real), "safetensors headers"
            if abs(self.parameters - formula) > 0.01 * formula:
                self.assumptions.append(
                    f"the files hold {self.parameters:,} parameters, the formula for the text model gives {formula:,}: "
                    "the bounds take the layers to be as the formula says"
                )

    def _sum(self, quantisation: Quantisation | None, bits: float) -> int:
        total = (self.architecture.embedding + self.architecture.head) * bits
        for layer in self.architecture.layers:
            total += self._layer_bits(layer, quantisation, bits, layer.experts)
        return int(total / 8)

    @staticmethod
    def _layer_bits(layer: Layer, quantisation: Quantisation | None, bits: float, experts: float) -> float:
        small = bits if quantisation is None else quantisation.bits
        attention = small if quantisation is not None and quantisation.attention else bits
        dense = small if quantisation is not None and quantisation.dense else bits
        return layer.attention * attention + layer.dense * dense + layer.expert * experts * small + layer.plain * bits

    def per_device(self, tensor: int, pipeline: int) -> int:
        """Bytes of the largest share, among `tensor` devices for each layer and `pipeline` groups of layers."""
        ends = (self.architecture.embedding + self.architecture.head) * self.bits / 8
        ends = max(self.architecture.embedding, self.architecture.head) * self.bits / 8 if pipeline > 1 else ends
        sizes = [
            (self._layer_bits(layer, self.quantisation, self.bits, layer.experts) - layer.plain * self.bits) / tensor
            + layer.plain * self.bits
            for layer in self.architecture.layers
        ]
        most = math.ceil(len(sizes) / pipeline)
        layers = max(sum(sizes[start : start + most]) for start in range(0, len(sizes), most)) / 8
        return int(self._scale * (layers + ends / tensor))

    def read_in_a_step(self, tokens: float) -> float:
        """Bytes that a step with `tokens` tokens reads: of the experts those that any of the tokens is sent to.

        Tokens are taken to choose experts evenly and independently.
        """
        bits = (self.architecture.head or self.architecture.embedding) * float(self.bits)
        for layer in self.architecture.layers:
            touched = layer.experts * (1 - (1 - layer.active / layer.experts) ** tokens) if layer.experts else 0
            bits += self._layer_bits(layer, self.quantisation, self.bits, touched)
        return bits / 8

    def operations(self, context: float) -> float:
        """Operations for the next token of a request with `context` tokens before it."""
        architecture = self.architecture
        through = architecture.active_parameters - architecture.embedding - architecture.head
        head = architecture.head or architecture.embedding
        looks = sum(
            layer.score_width * (context if layer.window is None else min(context, layer.window))
            for layer in architecture.layers
        )
        return 2.0 * (through + head + looks)

    def prompt_operations(self, tokens: int) -> float:
        """Operations for reading a prompt: each token looks at those before it; only the last one needs the head."""
        architecture = self.architecture
        through = architecture.active_parameters - architecture.embedding - architecture.head
        total = 2.0 * (through * tokens + (architecture.head or architecture.embedding))
        for layer in architecture.layers:
            inside = tokens if layer.window is None else min(tokens, layer.window)
            pairs = inside * (inside + 1) / 2 + (tokens - inside) * inside
            total += 2.0 * layer.score_width * pairs
        return total

    def kv(self, tokens: float, bits: int, block: int = 1) -> float:
        """Bytes of the KV cache of a request with `tokens` tokens, in blocks of `block`."""
        total = 0.0
        for layer in self.architecture.layers:
            kept = tokens if layer.window is None else min(tokens, layer.window)
            total += layer.kv_values * (math.ceil(kept / block) * block if block > 1 else kept)
        return total * bits / 8

    def kv_share(self, tensor: int) -> float:
        """Share of a layer's KV cache on each of `tensor` devices: a head cannot be cut, MLA's vector neither."""
        heads = self.architecture.kv_heads
        return 1.0 if heads == 0 else math.ceil(heads / tensor) / heads
