"""From a change to its plan: differences, effects, linked tables, messages, healing. Pure."""
