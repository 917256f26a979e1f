"""What a real Phoenix shows of our spans, by its own APIs."""

from __future__ import annotations


def test_x(phoenix, mlflow, sender):
    import json

    s = sender.send(f"{phoenix.url}/v1/traces", "all", ("gen_ai", "openinference", "langfuse"), {})
    print(s.traces)
    print(phoenix.url)
    e = mlflow.ask("/api/2.0/mlflow/experiments/create", {"name": "all"})["experiment_id"]
    s = sender.send(
        f"{mlflow.url}/v1/traces", "all", ("gen_ai", "openinference", "langfuse"), {"x-mlflow-experiment-id": e}
    )
    print(s.traces)
    print(mlflow.url)
    open("/tmp/h/g/urls", "w").write(json.dumps([phoenix.url, mlflow.url, s.traces]))
