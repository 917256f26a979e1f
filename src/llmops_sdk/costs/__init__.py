"""Costs: what models charge, and what was spent. Money is `Decimal`, and what is not known stays `None`."""

from llmops_sdk.costs._asides import embedded, recorded_aside, relayed_to
from llmops_sdk.costs._asking import ask_aside, time_left
from llmops_sdk.costs._bill import Bill, bill_of, billed_by, price_in
from llmops_sdk.costs._budget import budget_refusal, hold_budget, most_it_can_cost
from llmops_sdk.costs._estimates import TOKENS_PER_IMAGE, estimated_text_tokens, estimated_tokens, likely_text_tokens
from llmops_sdk.costs._ledger import Ledger
from llmops_sdk.costs._ledger_rows import LedgerRow
from llmops_sdk.costs._prices import Price
from llmops_sdk.costs._table import PriceTable, price_of

__all__ = [
    "TOKENS_PER_IMAGE",
    "Bill",
    "Ledger",
    "LedgerRow",
    "Price",
    "PriceTable",
    "ask_aside",
    "bill_of",
    "billed_by",
    "budget_refusal",
    "embedded",
    "estimated_text_tokens",
    "estimated_tokens",
    "hold_budget",
    "likely_text_tokens",
    "most_it_can_cost",
    "price_in",
    "price_of",
    "recorded_aside",
    "relayed_to",
    "time_left",
]
