"""The loop, batches, the checkpoint, retry, the error policy, dead letters. It uses protocols, no client library."""
