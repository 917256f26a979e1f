"""Costs: what models charge, and what was spent. Money is `Decimal`, and what is not known stays `None`."""

from llmops_sdk.costs._estimates import estimated_tokens
from llmops_sdk.costs._ledger import Ledger
from llmops_sdk.costs._prices import Price, PriceTable, price_of

__all__ = ["Ledger", "Price", "PriceTable", "estimated_tokens", "price_of"]
