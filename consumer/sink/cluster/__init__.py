"""Redis Cluster: nodes, slots, and plans divided by slots."""
