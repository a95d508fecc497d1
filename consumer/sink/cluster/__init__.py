"""Redis Cluster: nodes, slots, and plans spread over them."""
