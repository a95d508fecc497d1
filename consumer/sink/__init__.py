"""Redis as the sink: the script and its calls, one server or a cluster, and reading what Redis holds."""
