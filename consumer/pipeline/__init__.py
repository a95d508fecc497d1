"""The loop, batches, the checkpoint, retry, the error policy, dead letters. It knows protocols, not servers."""
