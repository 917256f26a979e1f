"""A router between three endpoints of which one fails and one hangs: `python examples/router_demo.py`.

Runs offline in some seconds: the endpoints are servers in this process that misbehave as they are told to.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from llmops_sdk import Pipeline, Router
from llmops_sdk.costs import Price
from llmops_sdk.routers import EngineModel, Traffic, simulate
from llmops_sdk.testing import FaultServer, Hang, Reply, Status

FILE = """\
strategy: round_robin
retries: {{times: 2, on: {{ServerError: 0}}}}
breaker: {{failures: 2, open_s: 30}}
hedge: 0.15
limits: {{requests_per_minute: 600, per: router}}
engines:
{engines}
prices: {{demo: {{input: "0.25", output: "2.00"}}}}
"""


def write(path: Path, **servers: FaultServer) -> None:
    """Declare a router of these endpoints."""
    engines = "\n".join(f'  - {{open: "{one.url}", model: demo, name: {name}}}' for name, one in servers.items())
    path.write_text(FILE.format(engines=engines))


def title(text: str) -> None:
    """Say what comes."""
    print(f"\n== {text}\n")


def play(path: Path, failing: FaultServer, hanging: FaultServer, steady: FaultServer) -> None:
    """Ask through the router, look at what it knows, mend the file, and try policies on models of the engines."""
    write(path, failing=failing, hanging=hanging, steady=steady)
    with Router.from_yaml(path) as router:
        pipeline = Pipeline("When does {{ parcel }} arrive?", router)

        title("What it would do (`router.route`): all three are strangers yet")
        print(router.route("When does it arrive?"))

        title("The first answer: one engine fails, one hangs, the third one answers (`result.explain`)")
        result = pipeline.run(parcel="the book", deadline_s=10, tags={"shop": "north"})
        print(result.text, "\n")
        print(result.explain())

        title("Twenty more, at most ten seconds each: all are answered")
        results = pipeline.map([{"parcel": f"parcel {i}"} for i in range(20)], deadline_s=10, concurrency=4)
        print(f"{sum(bool(one.text) for one in results)} answers")
        print(router.route("When does it arrive?"))

        title("What it cost (`router.ledger`); what a cancelled request cost is not known, and estimated apart")
        print(router.ledger)

        title("Another file, nothing dropped (`router.reload`)")
        write(path, steady=steady, hanging=hanging)
        print(router.reload(path))

    title("Which strategy, which hedge? The same policies in virtual time (`routers.simulate`)")
    model = EngineModel.provider(slots=16).but(price=Price(input=Decimal("0.25"), output=Decimal(2)))
    engines = {"failing": model.but(error_rate=0.2), "slow": model.slowed(3), "steady": model}
    policies = {
        "round_robin": "round_robin",
        "latency": "latency",
        "latency, hedged": {"strategy": "latency", "hedge": "p95"},
    }
    traffic = Traffic(rate_per_s=6, prompt_tokens=(500, 1.0), answer_tokens=(150, 0.8))
    print(simulate(policies, engines, traffic, requests=400, seed=1))


def main() -> int:
    """Start the endpoints, and play."""
    with (
        TemporaryDirectory() as folder,
        FaultServer(Status(status=500)) as failing,
        FaultServer(Hang()) as hanging,
        FaultServer(Reply(text="On Friday.", delay_s=0.02)) as steady,
    ):
        play(Path(folder, "router.yaml"), failing, hanging, steady)
    return 0


if __name__ == "__main__":
    sys.exit(main())
