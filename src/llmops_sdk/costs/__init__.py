"""Costs: what models charge, and what an answer cost. Money is `Decimal`, and what is not known stays `None`."""

from llmops_sdk.costs._prices import Price, PriceTable, price_of

__all__ = ["Price", "PriceTable", "price_of"]
