"""Redis out: the script, its call, one server or a cluster, what stands in Redis."""
