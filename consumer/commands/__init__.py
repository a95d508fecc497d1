"""The commands of ``cdc-consumer``, a package each; none imports another."""
