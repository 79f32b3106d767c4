"""A Flask app on a Ray cluster: `serve run deployment:application` beside `shop.py`, or `serve deploy`."""

import bridge.ray

application = bridge.ray.deployment(
    "shop:app",
    name="shop",
    replicas="2..20",  # Ray adds one while each has more requests at once than this:
    autoscaling_config={"target_ongoing_requests": 10},
    threads=40,  # as many requests a replica takes; more wait in Ray's proxy
    ray_actor_options={"num_cpus": 1},
)
