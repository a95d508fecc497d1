"""Dead letters: what may be shown of one, and how it is applied again or discarded."""
