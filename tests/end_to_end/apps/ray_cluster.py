"""A Ray cluster of two nodes on this machine, with what test_ray.py asks: a process of its own.

It takes a command a line, and answers each with a line of JSON behind a mark, since Ray prints, too.
"""

import json
import logging
import sys
from typing import Any

import ray
from ray import serve
from ray.cluster_utils import Cluster

import bridge.ray
from bridge import WSGIToASGI

MARK = "cluster: "
APP = "tests.end_to_end.apps.ray_app"


def answer(value: object) -> None:
    print(MARK + json.dumps(value), flush=True)


def replicas_of(application: Any) -> dict[str, int]:
    return {
        state: count
        for each in application.deployments.values()
        for state, count in each.replica_states.items()
    }


def build() -> WSGIToASGI:
    from tests.end_to_end.apps.ray_app import app

    return WSGIToASGI(app, threads=2)


def main(port: int) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False})
    second = cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, namespace="serve", logging_level=logging.ERROR, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port}, proxy_location="HeadOnly")
    deployed: dict[str, Any] = {
        "shop": bridge.ray.deployment(
            f"{APP}:app",
            replicas=2,
            threads=2,
            max_replicas_per_node=1,
            health_check_period_s=1,
            check_health=f"{APP}:is_healthy",
        ),
        "built": bridge.ray.deployment(build, ray_actor_options={"num_cpus": 0.1}),
    }
    serve.run_many(
        [serve.RunTarget(each, name=name, route_prefix=f"/{name}") for name, each in deployed.items()]
    )
    answer({"address": cluster.address})
    for line in sys.stdin:
        match line.split():
            case ["kill", *_]:
                cluster.remove_node(second, allow_graceful=False)
                answer(None)
            case ["delete", name]:
                serve.delete(name)
                answer(None)
            case _:
                applications = serve.status().applications
                answer({name: replicas_of(each) for name, each in applications.items()})
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
