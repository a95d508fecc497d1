"""The commands of ``cdc-consumer``, one package each; no command imports another."""
