"""Many replicas behaving as one oracle.

`scheduler` decides which chunk goes where and knows no Ray; `replica` is the actor around a
`ClipOracle`; `registry` keeps tasks and images for replicas that need them (again); `client` drives
the scheduler over Ray and implements the oracle's contract; `lifecycle` starts and finds pools.
`membership` and `demand` decide which replicas there should be, `keeper` starts and ends them, and
`autoscaling` asks for the nodes.
"""
