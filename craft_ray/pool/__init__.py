"""Many replicas behaving as one oracle.

`scheduler` decides which chunk goes where and knows no Ray; `replica` is the actor around an
oracle; `registry` keeps tasks and images for replicas that need them (again); `dispatch` drives the
scheduler over Ray, and `client` implements the oracle's contract with it; `lifecycle` starts and
ends pools. `membership`, `demand` and `seats` decide which replicas there should be, `keeper`
starts and ends them, and Ray asks its autoscaler for nodes for those that have no place.
"""
